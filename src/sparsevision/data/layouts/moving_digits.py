"""Digits that move over photographs: where they go, no single frame tells."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sparsevision.data.dataset import Dataset, Opening, Record, fingerprint_of
from sparsevision.data.layouts.digits import Digits
from sparsevision.data.layouts.placed_digits import drawn_ink, open_photographs, paste_digit, random_crop
from sparsevision.data.videos import VideoInfo

UNMARKED = False
PREFIX = "moving-digits:"
DIRECTIONS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")
_TO_LEARN_FROM, _TO_SCORE = 16_000, 1_000
_SIZE, _SECONDS, _RATE = 96, 2.0, 8.0
_SIDES = (24, 36)  # of a digit
_WAYS = (0.35, 0.85)  # that it goes, in sides of the image


def recognises(spec: str) -> bool:
    """Returns whether a data set is named "moving-digits:PHOTOGRAPHS"."""
    return spec.startswith(PREFIX)


def splits(spec: str) -> tuple[str, ...]:
    """Returns the splits."""
    return ("train", "val")


def open_split(spec: str, split: str | None, opening: Opening) -> Dataset:
    """Opens clips on the photographs of a split, with the digits of that split."""
    part = split or "all"
    photographs = open_photographs(spec.removeprefix(PREFIX), part, opening)
    digits = Digits(part, seed=opening.seed, val_fraction=opening.val_fraction)
    scored = split == "val"
    length = _TO_SCORE if scored else _TO_LEARN_FROM
    return MovingDigits(photographs, digits, length=length, seed=2 * opening.seed + scored)


class MovingDigits:
    """Clips of two seconds of a digit that moves evenly in one of 8 directions, which is the class; a `Dataset`.

    What leaves at one edge comes back at the opposite one, and a digit begins anywhere: in every frame it is as likely
    here as there, whatever the direction. Clip `index` depends on nothing but `seed` and `index`.
    """

    def __init__(self, photographs: Dataset, digits: Digits, *, length: int, seed: int = 0) -> None:
        self.photographs, self.digits, self.seed = photographs, digits, seed
        self._photograph = np.random.default_rng([seed, 0]).integers(len(photographs), size=length)
        self._digit = np.random.default_rng([seed, 1]).integers(len(digits), size=length)
        self.classes = DIRECTIONS
        self.labels = np.random.default_rng([seed, 2]).integers(len(DIRECTIONS), size=length).tolist()
        self.origin = (
            f"{length} clips of {_SIZE} px (seed {seed}) with {digits.origin}, {_SIDES[0]} to {_SIDES[1]} px, on "
            f"photographs from {photographs.origin}"
        )

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def names(self) -> list[str]:
        """The number, the digit and the photograph of every clip."""
        parts = zip(self._digit, self._photograph, strict=True)
        return [
            f"clip {number}: {self.digits.names[digit]} on {self.photographs.names[photograph]}"
            for number, (digit, photograph) in enumerate(parts)
        ]

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the digits, the photographs and how they are put together."""
        parts = (self.photographs.fingerprint, self.digits.fingerprint, self.seed, len(self))
        return fingerprint_of(self.classes, [parts])

    def read(self, index: int) -> Record:
        """Draws what a clip is made of; raises UnreadableImageError where its photograph cannot be decoded."""
        draws = np.random.default_rng([self.seed, 3, index])
        ground = random_crop(self.photographs.read(int(self._photograph[index])).image, _SIZE, draws)
        clip = _Clip(ground, self.digits.pixels[self._digit[index]], self.labels[index], draws)
        return Record(clip, self.labels[index], self.names[index], (_SIZE, _SIZE))

    def content(self, index: int) -> bytes:
        """The pixels of the first and of the last frame."""
        return self.read(index).image.read([0.0, _SECONDS]).tobytes()


class _Clip:
    """One clip, drawn where it is asked for, as `data.videos.Video` is decoded."""

    info = VideoInfo(duration=_SECONDS, rate=_RATE, frames=round(_SECONDS * _RATE), size=(_SIZE, _SIZE))

    def __init__(self, ground: Image.Image, pixels: NDArray[np.uint8], label: int, draws: np.random.Generator) -> None:
        angle = label * np.pi / 4
        self.start, self.side = draws.uniform(0, _SIZE, size=2), int(draws.integers(_SIDES[0], _SIDES[1] + 1))
        self.way = draws.uniform(*_WAYS) * _SIZE * np.array([np.cos(angle), np.sin(angle)])
        self.ground, self.pixels, self.ink = ground, pixels, drawn_ink(ground, draws)

    def read(self, times: Sequence[float], *, side: int | None = None) -> NDArray[np.uint8]:
        """Draws frames (T, H, W, 3) at times in seconds."""
        return np.stack([self._frame(time / _SECONDS) for time in times])

    def _frame(self, share: float) -> NDArray[np.uint8]:
        frame = self.ground.copy()
        left, top = (int(place) for place in np.round(self.start + share * self.way) % _SIZE)
        # What sticks out on the right and at the bottom comes back on the left and at the top.
        for corner in ((left, top), (left - _SIZE, top), (left, top - _SIZE), (left - _SIZE, top - _SIZE)):
            paste_digit(frame, self.pixels, corner, self.side, self.ink)
        return np.asarray(frame)
