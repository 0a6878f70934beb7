"""What is in a data set, and what of it would hurt a training; nothing is changed."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from sparsevision.data.dataset import Dataset, Split
from sparsevision.data.opening import open_dataset
from sparsevision.errors import DataError, UnreadablePictureError
from sparsevision.types import Skipped

TINY_SIDE = 16
GIGANTIC_PIXELS = 25_000_000
FEW_PICTURES = 5


D = TypeVar("D", bound=Dataset)
Sides = tuple[tuple[int, int, int], tuple[int, int, int]]


@dataclass(frozen=True)
class SplitReport:
    """One split: pictures per class, the range of sides in pixels, and the pictures that stand out.

    `sides` is (least, median, most) over short sides, then over long sides; None where nothing could be decoded.
    """

    split: str
    origin: str
    fingerprint: str
    pictures: int
    per_class: dict[str, int]
    sides: Sides | None
    broken: tuple[Skipped, ...]
    tiny: tuple[str, ...]
    gigantic: tuple[str, ...]


@dataclass(frozen=True)
class DatasetReport:
    """A data set seen as a whole. `harmful` says, a sentence each, what would hurt; `notes` what is good to know.

    `leaked` are groups of names, of identical pictures that lie in both splits; `contradictory` of identical pictures
    with different labels.
    """

    spec: str
    classes: tuple[str, ...]
    splits: tuple[SplitReport, ...]
    leaked: tuple[tuple[str, ...], ...]
    contradictory: tuple[tuple[str, ...], ...]
    harmful: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Seen:
    """A picture that was read: where it is, what it shows, and the hash of its file."""

    split: str
    name: str
    label: int
    digest: bytes


def inspect_dataset(
    spec: str,
    *,
    seed: int = 0,
    val_fraction: float = 0.2,
    progress: Callable[[int, int], None] | None = None,
) -> DatasetReport:
    """Decodes every picture of both splits once and reports what is there; `progress(done, of)` is told along the way.

    A data set that cannot be opened gives a report with that one sentence in `harmful`, not an exception.
    """
    try:
        datasets = {split: open_dataset(spec, split, seed=seed, val_fraction=val_fraction) for split in _splits()}
    except DataError as error:
        return DatasetReport(str(spec), (), (), (), (), (str(error),), ())
    examined = [_Examination(split, dataset) for split, dataset in datasets.items()]
    take_all(examined, progress)
    reports = [one.report() for one in examined]
    leaked, contradictory = copies_among([picture for one in examined for picture in one.seen])
    classes = datasets["train"].classes
    harmful = _harmful(classes, reports, leaked, contradictory)
    return DatasetReport(
        str(spec), classes, tuple(reports), leaked, contradictory, tuple(harmful), tuple(_notes(classes, reports))
    )


def _splits() -> tuple[Split, ...]:
    return ("train", "val")


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


class _Examination(Examination[Dataset]):
    """Looks at the pictures of one split of classes."""

    def __init__(self, split: str, dataset: Dataset) -> None:
        super().__init__(split, dataset)
        self.tiny: list[str] = []
        self.gigantic: list[str] = []

    def take(self, index: int) -> None:
        """Reads one picture, for its content and for its size."""
        name = str(self.dataset.names[index])
        size = self.read(index, name, self.dataset.labels[index])
        if size is None:
            return
        height, width = size
        if min(height, width) < TINY_SIDE:
            self.tiny.append(name)
        if height * width > GIGANTIC_PIXELS:
            self.gigantic.append(name)

    def report(self) -> SplitReport:
        """Sums up."""
        dataset = self.dataset
        counts = Counter(dataset.labels)
        return SplitReport(
            self.split, dataset.origin, dataset.fingerprint, len(dataset),
            {name: counts[label] for label, name in enumerate(dataset.classes)},
            range_of_sides(self.sizes), tuple(self.broken), tuple(self.tiny), tuple(self.gigantic),
        )  # fmt: skip


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


def _harmful(
    classes: tuple[str, ...],
    reports: list[SplitReport],
    leaked: tuple[tuple[str, ...], ...],
    contradictory: tuple[tuple[str, ...], ...],
) -> list[str]:
    found = []
    broken = [skipped for report in reports for skipped in report.broken]
    if broken:
        found.append(f"{count_of(len(broken), 'picture')} cannot be read and would be skipped, first {broken[0].name}.")
    if leaked:
        found.append(
            f"{count_of(len(leaked), 'picture')} in train and in val, so the score would be too good, first "
            f"{' = '.join(leaked[0])}."
        )
    if contradictory:
        found.append(
            f"{count_of(len(contradictory), 'picture')} with more than one label, first {' = '.join(contradictory[0])}."
        )
    for report in reports:
        absent = [name for name in classes if not report.per_class[name]]
        if absent:
            found.append(
                f"{count_of(len(absent), 'class', 'classes')} without a picture in {report.split}: {some_of(absent)}."
            )
    if len(classes) < 2:
        found.append(f"There is only one class ({classes[0]}), so there is nothing to learn.")
    return found


def _notes(classes: tuple[str, ...], reports: list[SplitReport]) -> list[str]:
    notes = []
    for report in reports:
        if report.tiny:
            count = count_of(len(report.tiny), "picture")
            notes.append(f"{count} in {report.split} with a side under {TINY_SIDE} pixels: {some_of(report.tiny)}.")
        if report.gigantic:
            count = count_of(len(report.gigantic), "picture")
            notes.append(
                f"{count} in {report.split} with more than {GIGANTIC_PIXELS // 1_000_000} million pixels, slow to "
                f"decode: {some_of(report.gigantic)}."
            )
    counts = reports[0].per_class
    few = [name for name in classes if 0 < counts[name] < FEW_PICTURES]
    if few:
        notes.append(
            f"{count_of(len(few), 'class', 'classes')} with fewer than {FEW_PICTURES} in train: {some_of(few)}."
        )
    present = [count for count in counts.values() if count]
    if present and max(present) >= 10 * min(present):
        notes.append(
            f"Classes are of very different size in train ({min(present)} to {max(present)} pictures): read the mean "
            f"over classes beside the share that is right."
        )
    return notes


def count_of(number: int, one: str, many: str | None = None) -> str:
    """Counts things in words."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def some_of(names: list[str] | tuple[str, ...], most: int = 5) -> str:
    """Names the first of several things, and says how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
