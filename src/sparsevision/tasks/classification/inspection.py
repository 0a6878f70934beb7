"""Faults of a labelled data set: broken images, copies in several splits, absent and tiny classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sparsevision.data.dataset import Dataset
from sparsevision.data.inspection import (
    FEW_IMAGES,
    TINY_SIDE,
    Examination,
    Sides,
    copies_among,
    count_of,
    range_of_sides,
    some_of,
    take_all,
    text_of_sides,
)
from sparsevision.errors import DataError
from sparsevision.types import Skipped, Table

GIGANTIC_PIXELS = 25_000_000


@dataclass(frozen=True)
class SplitReport:
    """One split: pictures per class, the range of sides in pixels, and the pictures that stand out.

    `sides` is (least, median, most) over short sides, then over long sides; None where nothing could be decoded.
    """

    split: str
    origin: str
    fingerprint: str
    images: int
    per_class: dict[str, int]
    sides: Sides | None
    broken: tuple[Skipped, ...]
    tiny: tuple[str, ...]
    gigantic: tuple[str, ...]


@dataclass(frozen=True)
class LabelledInspection:
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

    @property
    def broken(self) -> dict[str, tuple[Skipped, ...]]:
        """The images that cannot be read, by split."""
        return {report.split: report.broken for report in self.splits}

    def tables(self) -> list[Table]:
        """Returns a row for each split."""
        columns = ("split", "images", "classes", "fewest", "most", "short side", "long side", "broken")
        rows = []
        for split in self.splits:
            counts = [count for count in split.per_class.values() if count] or [0]
            numbers = (split.images, sum(map(bool, split.per_class.values())), min(counts), max(counts))
            rows.append((split.split, *map(str, numbers), *text_of_sides(split.sides), str(len(split.broken))))
        heading = f"Data set {self.spec}, {len(self.classes)} classes; sides in pixels: least–most (median)"
        return [Table(heading=heading, columns=columns, rows=tuple(rows))]

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON takes it."""
        return asdict(self)


def inspect_labelled(
    open_split: Callable[[str], Dataset], spec: str, progress: Callable[[int, int], None] | None = None
) -> LabelledInspection:
    """Decodes every picture of both splits once and reports what is there; `progress(done, of)` is told along the way.

    A data set that cannot be opened gives a report with that one sentence in `harmful`, not an exception.
    """
    try:
        datasets = {split: open_split(split) for split in ("train", "val")}
    except DataError as error:
        return LabelledInspection(str(spec), (), (), (), (), (str(error),), ())
    examined = [_LabelledExamination(split, dataset) for split, dataset in datasets.items()]
    take_all(examined, progress)
    reports = [one.report() for one in examined]
    leaked, contradictory = copies_among([picture for one in examined for picture in one.seen])
    classes = datasets["train"].classes
    harmful = _harmful(classes, reports, leaked, contradictory)
    return LabelledInspection(
        str(spec), classes, tuple(reports), leaked, contradictory, tuple(harmful), tuple(_notes(classes, reports))
    )


class _LabelledExamination(Examination[Dataset]):
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
    few = [name for name in classes if 0 < counts[name] < FEW_IMAGES]
    if few:
        notes.append(f"{count_of(len(few), 'class', 'classes')} with fewer than {FEW_IMAGES} in train: {some_of(few)}.")
    present = [count for count in counts.values() if count]
    if present and max(present) >= 10 * min(present):
        notes.append(
            f"Classes are of very different size in train ({min(present)} to {max(present)} pictures): read the mean "
            f"over classes beside the share that is right."
        )
    return notes
