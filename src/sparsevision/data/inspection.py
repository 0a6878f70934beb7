"""Inspection of a data set before training: what all tasks share. Nothing is changed on disk."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from sparsevision.data.dataset import Record
from sparsevision.data.reading import largest_deep_value
from sparsevision.data.texts import alike
from sparsevision.errors import DataError, UnreadableImageError
from sparsevision.types import Skipped, Table
from sparsevision.wording import count_of, some_of

TINY_SIDE = 16
FEW_IMAGES = 5
_TWELVE_BITS = 1 << 12
Sides = tuple[tuple[int, int, int], tuple[int, int, int]]


@dataclass(frozen=True, kw_only=True)
class SplitInspection:
    """One split: the number of its images, the range of their sides in pixels, and those that cannot be read.

    `sides` is (least, median, most) over short sides, then over long sides; None where nothing could be decoded.
    """

    split: str
    origin: str
    fingerprint: str
    images: int
    sides: Sides | None
    broken: tuple[Skipped, ...]

    @property
    def side_cells(self) -> tuple[str, str]:
        """The range of short and of long sides, as "least–most (median)"."""
        if self.sides is None:
            return ("-", "-")
        short, long = (f"{least}–{most} ({median})" for least, median, most in self.sides)
        return short, long


@dataclass(frozen=True, kw_only=True)
class Inspection(ABC):
    """The findings of `doctor` in a data set: `harmful` are faults, `notes` are good to know, a sentence each.

    `leaked` are groups of names of identical images that lie in several splits.
    """

    spec: str
    classes: tuple[str, ...] = ()
    splits: Sequence[SplitInspection] = ()
    leaked: tuple[tuple[str, ...], ...] = ()
    harmful: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def broken(self) -> dict[str, tuple[Skipped, ...]]:
        """The images that cannot be read, by split."""
        return {each.split: each.broken for each in self.splits}

    @abstractmethod
    def tables(self) -> list[Table]:
        """Returns the data set as tables of text."""

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON takes it."""
        return asdict(self)


def open_splits(
    open_split: Callable[[str], Any], splits_of: Callable[[], Sequence[str]]
) -> tuple[dict[str, Any], list[str]]:
    """Opens every split of a data set; returns them by name, and what is wrong with those that cannot be opened."""
    opened: dict[str, Any] = {}
    refused: list[str] = []
    try:
        splits = splits_of()
    except DataError:
        splits = ("train", "val")  # opening tells what is wrong
    for split in splits:
        try:
            opened[split] = open_split(split)
        except DataError as error:
            refused.append(str(error))
    return opened, list(dict.fromkeys(refused))


def refusals(check: Callable[[str, Any, Any], None], spec: str, opened: Mapping[str, Any]) -> list[str]:
    """Returns what training would refuse, by a task's check of train and val."""
    if "train" not in opened or "val" not in opened:
        return []
    try:
        check(spec, opened["train"], opened["val"])
    except DataError as error:
        return [str(error)]
    return []


def dark_notes(examinations: Sequence[Examination]) -> list[str]:
    """Returns a sentence about images of 12 bits in files of 16, which are read as nearly black."""
    dark = [name for one in examinations for name in one.dark]
    what = f"of 16 bits with values below {_TWELVE_BITS:,} alone, read as nearly black: scale them to 16 bits, or to 8"
    return listed(dark, what)


def notes_of(datasets: Iterable[Any]) -> list[str]:
    """Returns what data sets say about how they were read, and classes that look alike; each sentence once."""
    every = list(datasets)
    notes = [note for dataset in every for note in getattr(dataset, "notes", ())]
    return list(dict.fromkeys([*notes, *(note for dataset in every for note in alike(dataset.classes))]))


class Seen(NamedTuple):
    """An image that was read: its place, its class and the hash of its file."""

    split: str
    name: str
    label: int
    digest: bytes


class Examination(ABC):
    """Examines the images of one split, one after another."""

    def __init__(self, split: str, dataset: Any) -> None:
        self.split, self.dataset = split, dataset
        self.seen: list[Seen] = []
        self.sizes: list[tuple[int, int]] = []
        self.broken: list[Skipped] = []
        self.dark: list[str] = []

    @abstractmethod
    def take(self, index: int) -> None:
        """Examines one image."""

    def read(self, index: int, name: str, label: int) -> Record | None:
        """Reads one image, keeps it as `name` with its (height, width), and returns it; None where it is broken."""
        try:
            content = self.dataset.content(index)
            digest = hashlib.blake2b(content, digest_size=16).digest()
            if (most := largest_deep_value(content)) is not None and most < _TWELVE_BITS:
                self.dark.append(name)
            record: Record = self.dataset.read(index)
        except UnreadableImageError as error:
            self.broken.append(Skipped(str(self.dataset.names[index]), str(error)))
            return None
        self.seen.append(Seen(self.split, name, label, digest))
        self.sizes.append(record.original_size or (record.image.height, record.image.width))
        return record

    def basics(self) -> dict[str, Any]:
        """Returns the fields of a `SplitInspection`."""
        ordered = np.sort(np.asarray(self.sizes).reshape(-1, 2), axis=1).T
        ranges = tuple((int(side.min()), int(np.median(side)), int(side.max())) for side in ordered if len(side))
        found = self.dataset
        return {
            "split": self.split, "origin": found.origin, "fingerprint": found.fingerprint, "images": len(found),
            "sides": ranges or None, "broken": tuple(self.broken),
        }  # fmt: skip


E = TypeVar("E", bound=Examination)


@dataclass(frozen=True)
class Examined(Generic[E]):
    """The splits of a data set that could be opened, each with its examination; why others could not; what was read."""

    opened: dict[str, Any]
    refused: list[str]
    splits: list[E]
    seen: list[Seen]

    def refusals(self, check: Callable[[str, Any, Any], None], spec: str) -> list[str]:
        """Returns why splits could not be opened, and what a task's check of train and val refuses."""
        return [*self.refused, *refusals(check, spec, self.opened)]

    def notes(self) -> list[str]:
        """Returns what the data sets say of how they were read, and what is odd about images."""
        return [*notes_of(self.opened.values()), *dark_notes(self.splits)]


def examine_splits(
    kind: Callable[[str, Any], E], open_split: Callable[[str], Any], splits_of: Callable[[], Sequence[str]],
    progress: Callable[[int, int], None] | None = None,
) -> Examined[E]:  # fmt: skip
    """Opens every split of a data set and examines each of its images once; `progress(done, total)` is called."""
    opened, refused = open_splits(open_split, splits_of)
    splits = [kind(split, dataset) for split, dataset in opened.items()]
    return Examined(opened, refused, splits, take_all(splits, progress))


def take_all(examinations: Sequence[Examination], progress: Callable[[int, int], None] | None) -> list[Seen]:
    """Examines every image and returns those that were read; `progress(done, total)` is called along the way."""
    total = sum(len(one.dataset) for one in examinations)
    steps = ((one, index) for one in examinations for index in range(len(one.dataset)))
    for done, (one, index) in enumerate(steps, start=1):
        one.take(index)
        if progress is not None:
            progress(done, total)
    return [seen for one in examinations for seen in one.seen]


def copies(seen: Iterable[Seen], field: str) -> tuple[tuple[str, ...], ...]:
    """Groups the names of identical images that differ in a field of `Seen`."""
    groups: dict[bytes, list[Seen]] = defaultdict(list)
    for one in seen:
        groups[one.digest].append(one)
    differing = (group for group in groups.values() if len({getattr(one, field) for one in group}) > 1)
    return tuple(tuple(one.name for one in group) for group in differing)


def listed(names: Sequence[str], what: str, one: str = "image", many: str = "") -> list[str]:
    """Returns a sentence that counts things and names the first ones; none where there is nothing."""
    return [f"{count_of(len(names), one, many)} {what}: {some_of(names)}."] if names else []


def leaks(groups: Sequence[Sequence[str]], one: str = "image") -> list[str]:
    """Returns a sentence about identical images in several splits."""
    return first_copies(groups, "in more than one split, so the score would be too good", one)


def first_copies(groups: Sequence[Sequence[str]], what: str, one: str = "image") -> list[str]:
    """Returns a sentence that counts groups of identical images and names the first one; none where there is none."""
    return [f"{count_of(len(groups), one)} {what}, first {' = '.join(groups[0])}."] if groups else []
