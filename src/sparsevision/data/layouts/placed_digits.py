"""Small digits on photographs: most of the image does not matter, so it pays to look in the right place."""

from __future__ import annotations

import re
from functools import cached_property

import numpy as np
from PIL import Image

from sparsevision.data.dataset import Dataset, Opening, Record, fingerprint_of
from sparsevision.data.layouts import class_folders, digits, shards
from sparsevision.data.layouts.digits import Digits
from sparsevision.data.splitting import open_part
from sparsevision.errors import ConfigError

UNMARKED = False
_NAMED = re.compile(r"placed-digits(?:@(?P<scenes>[1-9]\d{0,8}))?:.*", re.DOTALL)
_TO_LEARN_FROM, _TO_SCORE = 33_000, 2_000
_LUMINANCE = np.array([0.299, 0.587, 0.114])
_LEAST_CONTRAST = 100.0


def recognises(spec: str) -> bool:
    """Returns whether a data set is named "placed-digits:PHOTOGRAPHS", or with a number to train on "@NUMBER:"."""
    return _NAMED.fullmatch(spec) is not None


def photographs_of(spec: str) -> str:
    """Returns the data set of photographs that a name of placed digits has."""
    return spec.partition(":")[2]


def splits(spec: str) -> tuple[str, ...]:
    """Returns the splits."""
    return ("train", "val")


def open_split(spec: str, split: str | None, opening: Opening) -> Dataset:
    """Opens scenes on the photographs of a split; those of train are a lesson in which digits shrink."""
    named = _NAMED.fullmatch(spec)
    assert named is not None, f"{spec!r} is not recognised here"
    part = split or "all"
    photographs = open_photographs(photographs_of(spec), part, opening)
    digits, seed = Digits(part, seed=opening.seed, val_fraction=opening.val_fraction), opening.seed
    # Scene 7 of val is to lie elsewhere than scene 7 of train.
    if split == "val":
        return PlacedDigits(photographs, digits, length=_TO_SCORE, seed=2 * seed + 1)
    length = int(named["scenes"] or _TO_LEARN_FROM)
    return PlacedDigits(photographs, digits, length=length, shrinking=0.7, seed=2 * seed)


def open_photographs(spec: str, split: str, opening: Opening) -> Dataset:
    """Opens a split of class folders, shards or digits, as grounds for scenes; their labels are not used."""
    layout = next((each for each in (digits, shards) if each.recognises(spec)), class_folders)
    return open_part(layout, spec, split, opening)


class PlacedDigits:
    """Photographs with one digit each; the target is the digit, and `box(index)` its place. A `Dataset`.

    A scene is a random `size` x `size` crop of a photograph, with a digit of `digit_side` pixels (least, most) drawn
    over it in a random colour at least 100 of 255 grey levels brighter or darker than the ground. Its centre is
    anywhere in the image, and a digit that would stick out is moved inside: so the middle is covered no more often
    than its area says, and who looks there without knowing where the digit is gains nothing.
    Scene `index` depends on nothing but `seed` and `index`. Photographs and digits come from the data sets given, so
    that splits which share neither are made of splits which share neither. The photographs' own labels are not used.

    With `shrinking` the scenes are a lesson, to be learned in their order: the first digit is as large as the image,
    and over that share of the scenes they shrink to `digit_side`. A network that looks at few points finds no small
    digit before it knows what digits look like. The size of a scene's digit then depends on `length`, too.
    """

    def __init__(
        self, photographs: Dataset, digits: Digits, *, length: int = 8000, size: int = 224,
        digit_side: tuple[int, int] = (24, 48), shrinking: float = 0.0, seed: int = 0,
    ) -> None:  # fmt: skip
        if not 1 <= digit_side[0] <= digit_side[1] <= size:
            raise ConfigError(
                f"Digits of {digit_side[0]} to {digit_side[1]} pixels do not fit images of {size} pixels."
            )
        if length < 1:
            raise ConfigError(f"A data set of {length} scenes is empty: give at least 1.")
        if not 0 <= shrinking < 1:
            raise ConfigError(f"The share of scenes whose digits shrink is {shrinking}; give at least 0 and below 1.")
        self.photographs, self.digits = photographs, digits
        self.size, self.digit_side, self.shrinking, self.seed = size, digit_side, shrinking, seed
        # A generator of its own for each, so that scene i is the same in a longer data set.
        self._photograph = np.random.default_rng([seed, 0]).integers(len(photographs), size=length)
        self._digit = np.random.default_rng([seed, 1]).integers(len(digits), size=length)
        self.classes = digits.classes
        self.labels = [digits.labels[digit] for digit in self._digit]
        lesson = f" (shrinking to that over {shrinking:.0%} of the scenes)" if shrinking else ""
        self.origin = (
            f"{length} scenes of {size} px (seed {seed}) with {digits.origin}, {digit_side[0]} to {digit_side[1]} px"
            f"{lesson}, on photographs from {photographs.origin}"
        )

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def names(self) -> list[str]:
        """The digit and the photograph of every scene."""
        parts = zip(self._digit, self._photograph, strict=True)
        return [f"{self.digits.names[digit]} on {self.photographs.names[photograph]}" for digit, photograph in parts]

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the digits, the photographs and how they are put together."""
        parts = (
            self.photographs.fingerprint, self.digits.fingerprint, self.size, self.digit_side, self.shrinking,
            self.seed, len(self),
        )  # fmt: skip
        return fingerprint_of(self.classes, [parts])

    def read(self, index: int) -> Record:
        """Draws one scene; raises UnreadableImageError where its photograph cannot be decoded."""
        draws = np.random.default_rng([self.seed, 2, index])
        ground = random_crop(self.photographs.read(int(self._photograph[index])).image, self.size, draws)
        left, top, side = self._place(index, draws)
        draw_digit(ground, self.digits.pixels[self._digit[index]], (left, top), side, draws)
        return Record(ground, self.labels[index], self.names[index], (self.size, self.size))

    def box(self, index: int) -> tuple[float, float, float, float]:
        """Returns the tile of a scene's digit, (x0, y0, x1, y1) as fractions of the image."""
        draws = np.random.default_rng([self.seed, 2, index])
        draws.uniform(size=3)  # those of the crop come first
        left, top, side = self._place(index, draws)
        return (left / self.size, top / self.size, (left + side) / self.size, (top + side) / self.size)

    def _place(self, index: int, draws: np.random.Generator) -> tuple[int, int, int]:
        """Draws the upper left corner and the side of a scene's digit."""
        least, most = self._sides(index)
        side = int(draws.integers(least, most + 1))
        left, top = (int(draws.integers(self.size)) - side // 2 for _ in range(2))
        left, top = (min(max(0, corner), self.size - side) for corner in (left, top))
        return left, top, side

    def _sides(self, index: int) -> tuple[int, int]:
        """Returns between which sides scene `index` draws its digit's."""
        shrunk = min(1.0, index / (self.shrinking * len(self))) if self.shrinking else 1.0
        # Equal steps shrink by equal factors.
        least, most = (self.size ** (1 - shrunk) * side**shrunk for side in self.digit_side)
        return round(least), round(most)

    def content(self, index: int) -> bytes:
        """The scene's pixels."""
        return self.read(index).image.tobytes()


def random_crop(photograph: Image.Image, size: int, draws: np.random.Generator) -> Image.Image:
    """Cuts a random square whose side is 70 to 100 % of the photograph's short side; resizes it."""
    side = max(min(photograph.size) * draws.uniform(0.7, 1.0), 1.0)
    left, top = (draws.uniform(0, extent - side) for extent in photograph.size)
    return photograph.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))


def draw_digit(
    ground: Image.Image, pixels: np.ndarray, corner: tuple[int, int], side: int, draws: np.random.Generator
) -> None:
    """Draws a digit of 8 x 8 grey values over an image, `side` pixels large, in a colour that stands out there."""
    left, top = corner
    patch = ground.crop((left, top, left + side, top + side))
    paste_digit(ground, pixels, corner, side, drawn_ink(patch, draws))


def paste_digit(
    ground: Image.Image, pixels: np.ndarray, corner: tuple[int, int], side: int, ink: tuple[int, int, int]
) -> None:
    """Draws a digit of 8 x 8 grey values over an image, `side` pixels large."""
    mask = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
    ground.paste(Image.new("RGB", (side, side), ink), corner, mask)


def drawn_ink(patch: Image.Image, draws: np.random.Generator) -> tuple[int, int, int]:
    """Draws a colour that stands out from the patch's mean; black or white does where none of eight draws."""
    ground = float(np.asarray(patch, dtype=np.float64).reshape(-1, 3).mean(0) @ _LUMINANCE)
    for _ in range(8):
        red, green, blue = draws.integers(0, 256, size=3).tolist()
        if abs(float(np.array([red, green, blue]) @ _LUMINANCE) - ground) >= _LEAST_CONTRAST:
            return red, green, blue
    return (0, 0, 0) if ground > 127 else (255, 255, 255)
