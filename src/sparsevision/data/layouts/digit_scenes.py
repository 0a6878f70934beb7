"""Several digits on a photograph, to be found and told apart: a data set for detection that needs no labelling."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from PIL import Image

from sparsevision.data.dataset import Dataset, Opening, Record, fingerprint_of
from sparsevision.data.layouts.digits import Digits
from sparsevision.data.layouts.placed_digits import draw_digit, open_photographs, random_crop
from sparsevision.data.objects import Objects, commonest
from sparsevision.errors import ConfigError

UNMARKED = False
PREFIX = "digit-scenes:"
_LENGTHS = {"train": 7000, "val": 500, "test": 1000}
# Halves of what is never trained on.
_SHARES = {"train": slice(None), "val": slice(0, None, 2), "test": slice(1, None, 2)}
_VISIBLE = 64  # of 255: what a stroke covers less than that passes for ground
_MOST_SHARED = 0.1
_TRIES = 100


def recognises(spec: str) -> bool:
    """Returns whether a data set is named "digit-scenes:PHOTOGRAPHS"."""
    return spec.startswith(PREFIX)


def splits(spec: str) -> tuple[str, ...]:
    """Returns the splits."""
    return ("train", "val", "test")


def open_split(spec: str, split: str | None, opening: Opening) -> Dataset:
    """Opens scenes of a split; `seed` holds out photographs where they are not divided, which val and test share."""
    split = split or "train"
    place, part = splits(spec).index(split), "train" if split == "train" else "val"
    photographs, digits = open_photographs(spec.removeprefix(PREFIX), part, opening), Digits(part, seed=opening.seed)
    # Scene 7 of val is to lie elsewhere than scene 7 of train.
    return DigitScenes(photographs, digits, length=_LENGTHS[split], share=_SHARES[split], seed=3 * opening.seed + place)


class _Placed(NamedTuple):
    """A digit by its index, the upper left corner of its tile and the tile's side, and its box, all in pixels."""

    digit: int
    corner: tuple[int, int]
    side: int
    box: np.ndarray


class DigitScenes:
    """Photographs with several digits each; a `Dataset` of ten classes whose targets are `Objects`.

    A scene is a random `size` x `size` crop of a photograph with `count` (least, most) digits of `digit_side` pixels
    (least, most), the side of the 8 x 8 grey values when they are drawn, each in a random colour at least 100 of 255
    grey levels brighter or darker than the ground. A box is tight around the strokes that can be seen, so that a 1 is
    narrow. Digits may touch: two boxes share at most a tenth of the smaller one. A digit for which a hundred draws find
    no such place is left out.
    Scene `index` depends on nothing but `seed` and `index`. Photographs and digits come from the data sets given, of
    which `share` takes a part: scenes of different shares, or of data sets that share nothing, share neither.
    """

    layout = "digit scenes"

    def __init__(
        self, photographs: Dataset, digits: Digits, *, length: int = 5000, size: int = 384,
        digit_side: tuple[int, int] = (20, 72), count: tuple[int, int] = (3, 12), share: slice = slice(None),
        seed: int = 0,
    ) -> None:  # fmt: skip
        if not 1 <= digit_side[0] <= digit_side[1] <= size:
            raise ConfigError(
                f"Digits of {digit_side[0]} to {digit_side[1]} pixels do not fit images of {size} pixels."
            )
        if not 1 <= count[0] <= count[1]:
            raise ConfigError(f"{count[0]} to {count[1]} digits a scene: give two rising numbers from 1 on.")
        if length < 1:
            raise ConfigError(f"A data set of {length} scenes is empty: give at least 1.")
        self._photographs, self._digits = np.arange(len(photographs))[share], np.arange(len(digits))[share]
        if not len(self._photographs) or not len(self._digits):
            raise ConfigError(f"{len(photographs)} photographs and {len(digits)} digits are too few to be shared out.")
        self.photographs, self.digits = photographs, digits
        self.length, self.size, self.digit_side, self.count, self.seed = length, size, digit_side, count, seed
        # A generator of its own, so that scene i is the same in a longer data set.
        self._photograph = np.random.default_rng([seed, 0]).choice(self._photographs, size=length)
        self._ink = np.stack([_ink_box(pixels) for pixels in digits.pixels])
        self.classes = digits.classes
        self.category_ids = tuple(range(len(self.classes)))
        self.names = [f"scene {i} on {photographs.names[place]}" for i, place in enumerate(self._photograph)]
        self.origin = (
            f"{length} scenes of {size} px (seed {seed}) with {count[0]} to {count[1]} digits of {digit_side[0]} to "
            f"{digit_side[1]} px from {len(self._digits)} of {digits.origin}, on {len(self._photographs)} photographs "
            f"from {photographs.origin}"
        )

    def __len__(self) -> int:
        return self.length

    @cached_property
    def labels(self) -> list[int]:
        """The commonest digit of every scene."""
        return [commonest(self.objects(index)) for index in range(len(self))]

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the digits, the photographs and how they are put together."""
        parts = (
            self.photographs.fingerprint, self.digits.fingerprint, self._photographs.tolist(), self._digits.tolist(),
            self.size, self.digit_side, self.count, self.seed, len(self),
        )  # fmt: skip
        return fingerprint_of(self.classes, [parts])

    def objects(self, index: int) -> Objects:
        """Returns a scene's digits, without drawing it."""
        placed = self._layout(index)
        boxes = np.stack([one.box for one in placed]) / self.size
        labels = np.array([self.digits.labels[one.digit] for one in placed], dtype=np.int64)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        return Objects(boxes, labels, areas, np.zeros(len(placed), dtype=bool))

    def read(self, index: int) -> Record:
        """Draws one scene; raises UnreadableImageError where its photograph cannot be decoded."""
        draws = np.random.default_rng([self.seed, 2, index])
        ground = random_crop(self.photographs.read(int(self._photograph[index])).image, self.size, draws)
        for one in self._layout(index):
            draw_digit(ground, self.digits.pixels[one.digit], one.corner, one.side, draws)
        return Record(ground, self.objects(index), self.names[index], (self.size, self.size))

    def content(self, index: int) -> bytes:
        """The scene's pixels."""
        return self.read(index).image.tobytes()

    def _layout(self, index: int) -> list[_Placed]:
        """Draws which digits a scene has and where, the later ones around the earlier."""
        draws = np.random.default_rng([self.seed, 1, index])
        placed: list[_Placed] = []
        for digit in draws.choice(self._digits, size=draws.integers(self.count[0], self.count[1] + 1)).tolist():
            side = int(draws.integers(self.digit_side[0], self.digit_side[1] + 1))
            for _ in range(_TRIES):
                left, top = draws.integers(self.size - side + 1, size=2).tolist()
                box = self._ink[digit] * side + (left, top, left, top)
                if all(_shared(box, other.box) <= _MOST_SHARED for other in placed):
                    placed.append(_Placed(digit, (left, top), side, box))
                    break
        return placed


def _ink_box(pixels: np.ndarray) -> np.ndarray:
    """Returns the corners (x0, y0, x1, y1) of what can be seen of a digit, as fractions of its tile."""
    large = Image.fromarray(pixels).resize((128, 128), Image.Resampling.BICUBIC)
    seen = large.point([255 * (value >= _VISIBLE) for value in range(256)]).getbbox()
    return np.array(seen or (0, 0, 128, 128)) / 128


def _shared(one: np.ndarray, other: np.ndarray) -> float:
    """Returns how much of the smaller of two boxes the other one covers."""
    inside = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None).prod()
    return float(inside / min((box[2:] - box[:2]).prod() for box in (one, other)))
