"""The parts of an inspection that data sets of all tasks share; nothing is changed on disk."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from sparsevision.data.dataset import Dataset
from sparsevision.errors import UnreadablePictureError
from sparsevision.types import Skipped

TINY_SIDE = 16
FEW_IMAGES = 5
D = TypeVar("D", bound=Dataset)
Sides = tuple[tuple[int, int, int], tuple[int, int, int]]


@dataclass(frozen=True)
class Seen:
    """A picture that was read: where it is, what it shows, and the hash of its file."""

    split: str
    name: str
    label: int
    digest: bytes


class Examination(ABC, Generic[D]):
    """Looks at the pictures of one split, one after the other."""

    def __init__(self, split: str, dataset: D) -> None:
        self.split, self.dataset = split, dataset
        self.seen: list[Seen] = []
        self.sizes: list[tuple[int, int]] = []
        self.broken: list[Skipped] = []

    @abstractmethod
    def take(self, index: int) -> None:
        """Looks at one picture."""

    def read(self, index: int, name: str, label: int) -> tuple[int, int] | None:
        """Reads one picture, remembers it as `name`, and returns its height and width; None where it is broken."""
        try:
            digest = hashlib.blake2b(self.dataset.content(index), digest_size=16).digest()
            record = self.dataset.read(index)
        except UnreadablePictureError as error:
            self.broken.append(Skipped(str(self.dataset.names[index]), str(error)))
            return None
        self.seen.append(Seen(self.split, name, label, digest))
        self.sizes.append(record.original_size or (record.image.height, record.image.width))
        return self.sizes[-1]


def take_all(examinations: Sequence[Examination[Any]], progress: Callable[[int, int], None] | None) -> None:
    """Looks at every picture; `progress(done, of)` is told along the way."""
    total = sum(len(one.dataset) for one in examinations)
    steps = ((one, index) for one in examinations for index in range(len(one.dataset)))
    for done, (one, index) in enumerate(steps, start=1):
        one.take(index)
        if progress is not None:
            progress(done, total)


def range_of_sides(sizes: list[tuple[int, int]]) -> Sides | None:
    """Returns (least, median, most) over the short sides, then over the long ones; None for no pictures."""
    if not sizes:
        return None
    ordered = np.sort(np.asarray(sizes), axis=1)
    short, long = ((int(side.min()), int(np.median(side)), int(side.max())) for side in ordered.T)
    return short, long


def copies_among(seen: list[Seen]) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    """Groups identical pictures: those that lie in several splits, and those that have several labels."""
    groups: dict[bytes, list[Seen]] = defaultdict(list)
    for one in seen:
        groups[one.digest].append(one)
    several = [group for group in groups.values() if len(group) > 1]
    leaked = tuple(tuple(one.name for one in group) for group in several if len({one.split for one in group}) > 1)
    unsure = tuple(tuple(one.name for one in group) for group in several if len({one.label for one in group}) > 1)
    return leaked, unsure


def text_of_sides(sides: Sides | None) -> tuple[str, str]:
    """Writes the range of short and of long sides as "least–most (median)"."""
    if sides is None:
        return ("-", "-")
    (low, mid, high), (long_low, long_mid, long_high) = sides
    return f"{low}–{high} ({mid})", f"{long_low}–{long_high} ({long_mid})"


def count_of(number: int, one: str, many: str | None = None) -> str:
    """Counts things in words."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def some_of(names: list[str] | tuple[str, ...], most: int = 5) -> str:
    """Names the first of several things, and says how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
