"""scikit-learn's handwritten digits as a data set of images: 1,797 of 8 x 8 pixels, no download."""

from __future__ import annotations

import numpy as np
from PIL import Image

from sparsevision.data.dataset import Dataset, Opening, Record, check_split, fingerprint_of
from sparsevision.data.subset import digest_of, held_out
from sparsevision.errors import MissingExtraError

UNMARKED = False


def recognises(spec: str) -> bool:
    """Returns whether a data set is named "digits"."""
    return spec == "digits"


def splits(spec: str) -> tuple[str, ...]:
    """Returns the splits."""
    return ("train", "val")


def open_split(spec: str, split: str | None, opening: Opening) -> Dataset:
    """Opens a split of the digits, which are in memory and are not reduced."""
    return Digits(split or "all", seed=opening.seed, val_fraction=opening.val_fraction)


class Digits:
    """The digits 0 to 9, white on black, 8 x 8 pixels; a `Dataset`. A fifth of each is for validation.

    Source: the test part of Alpaydin and Kaynak's Optical Recognition of Handwritten Digits (UCI), in scikit-learn.
    """

    def __init__(self, split: str = "train", *, seed: int = 0, val_fraction: float = 0.2) -> None:
        check_split(split)
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise MissingExtraError("scikit-learn", "The data set 'digits'") from None
        bunch = load_digits()
        pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)
        labels = bunch.target.tolist()
        digests = [digest_of(image.tobytes(), image.size) for image in pixels]
        validation = held_out(digests, labels, val_fraction, seed)
        kept = [index for index, is_val in enumerate(validation) if split == "all" or is_val == (split == "val")]
        self.pixels = pixels[kept]
        self.classes = tuple(str(digit) for digit in range(10))
        self.labels = [labels[index] for index in kept]
        self.names = [f"digits/{index}" for index in kept]
        self.fingerprint = fingerprint_of(self.classes, zip(self.names, self.labels, strict=True))
        self.origin = (
            f"scikit-learn's digits, split {split!r} of a stratified split by hash ({val_fraction:.0%} of each class "
            f"for validation, seed {seed})"
        )

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> Record:
        """Returns one digit as an RGB image of 8 x 8 pixels."""
        image = Image.fromarray(self.pixels[index]).convert("RGB")
        return Record(image, self.labels[index], self.names[index], original_size=(8, 8))

    def content(self, index: int) -> bytes:
        """The digit's 64 grey values."""
        return self.pixels[index].tobytes()
