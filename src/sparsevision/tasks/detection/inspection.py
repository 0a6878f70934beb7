"""What is in a data set for detection, and what of it would hurt a training; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torchvision.ops import box_iou

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
from sparsevision.data.layouts.annotated_images import AnnotatedImages
from sparsevision.data.objects import Objects
from sparsevision.errors import DataError
from sparsevision.types import Skipped, Table

SAME_BOX = 0.95
NEARLY_ALL = 0.95
_MOST_CLASSES = 100  # of a table
THIN_BOX = 2.0
# COCO's bounds between small, medium and large things, in pixels of the original picture.
_SMALL, _LARGE = 32.0, 96.0


@dataclass(frozen=True)
class BoxesSplitReport:
    """One split. `per_class` has (objects, pictures with any) of every class; crowds are counted apart.

    `sides` are of the pictures, short and long; `box_sides` (least, median, most) of the square
    roots of the boxes' areas in pixels; `box_sizes` how many are small, medium and large as COCO has it. `resized` are
    pictures of another size than was declared. Four name pictures once for each box: that leaves the picture, has no
    area, has a side under 2 pixels, is there twice. `empty` are pictures without objects; `without` those that show
    nothing of a class which nearly all others show.
    """

    split: str
    origin: str
    fingerprint: str
    images: int
    objects: int
    crowds: int
    per_class: dict[str, tuple[int, int]]
    sides: Sides | None
    box_sides: tuple[int, int, int] | None
    box_sizes: tuple[int, int, int]
    broken: tuple[Skipped, ...]
    resized: tuple[str, ...]
    sticking_out: tuple[str, ...]
    without_area: tuple[str, ...]
    thin: tuple[str, ...]
    repeated: tuple[str, ...]
    empty: tuple[str, ...]
    without: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class BoxesInspection:
    """A data set for detection seen as a whole.

    `leaked` are groups of names of identical images that lie in several splits."""

    spec: str
    layout: str
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    splits: tuple[BoxesSplitReport, ...]
    leaked: tuple[tuple[str, ...], ...]
    harmful: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def broken(self) -> dict[str, tuple[Skipped, ...]]:
        """The images that cannot be read, by split."""
        return {report.split: report.broken for report in self.splits}

    def tables(self) -> list[Table]:
        """Returns a row for each split, and one for each class."""
        layout = f"in the layout {self.layout}, {len(self.classes)} classes"
        heading = (
            f"Data set {self.spec} {layout}; sides in pixels: least–most (median); a box's is the root of its area"
        )
        columns = (
            "split",
            "images",
            "empty",
            "short side",
            "long side",
            "broken",
            "objects",
            "crowds",
            "side of a box",
        )
        rows = tuple(self._row(split) for split in self.splits)
        splits = Table(heading=heading, columns=(*columns, "small, medium, large"), rows=rows)
        classes = []
        for number, name in list(zip(self.category_ids, self.classes, strict=True))[:_MOST_CLASSES]:
            counts = [split.per_class.get(name, (0, 0)) for split in self.splits]
            classes.append((str(number), name, *(f"{objects} ({images})" for objects, images in counts)))
        more = len(self.classes) - _MOST_CLASSES
        note = f"and {more} classes more (--json lists all)" if more > 0 else ""
        headings = ("id", "class", *(f"{split.split}: objects (images)" for split in self.splits))
        return [splits, Table(columns=headings, rows=tuple(classes), note=note)]

    @staticmethod
    def _row(split: BoxesSplitReport) -> tuple[str, ...]:
        boxes = "-" if split.box_sides is None else "{}–{} ({})".format(*(split.box_sides[i] for i in (0, 2, 1)))
        shown = (split.split, split.images, len(split.empty), *text_of_sides(split.sides), len(split.broken))
        return (*map(str, (*shown, split.objects, split.crowds, boxes)), ", ".join(map(str, split.box_sizes)))

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON takes it."""
        return asdict(self)


def inspect_boxes(
    open_split: Callable[[str], Dataset],
    splits: Callable[[], tuple[str, ...]],
    spec: str,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> BoxesInspection:
    """Decodes every picture of every split once and reports what is there; `progress(done, of)` is told along the way.

    A split that cannot be opened gives its one sentence in `harmful`, not an exception.
    """
    opened: dict[str, Any] = {}
    harmful: list[str] = []
    for split in _splits(splits):
        try:
            opened[split] = open_split(split)
        except DataError as error:
            harmful += [str(error)] if str(error) not in harmful else []
    examined = [_BoxesExamination(split, dataset) for split, dataset in opened.items()]
    take_all(examined, progress)
    reports = [one.report() for one in examined]
    leaked, _ = copies_among([picture for one in examined for picture in one.seen])
    first = next(iter(opened.values()), None)
    ids = () if first is None else first.category_ids
    harmful += [sentence for report in reports for sentence in _harm_in(report)]
    harmful += _harm_between(opened, reports, leaked)
    return BoxesInspection(
        str(spec), "" if first is None else first.layout, () if first is None else first.classes, ids, tuple(reports),
        leaked, tuple(harmful), tuple(_notes(ids, reports)),
    )  # fmt: skip


def _splits(splits: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    try:
        return splits()
    except DataError:
        # Opening says what is wrong with it.
        return ("train", "val")


class _BoxesExamination(Examination[Any]):
    """Looks at the pictures of one split with boxes."""

    def __init__(self, split: str, dataset: Any) -> None:
        super().__init__(split, dataset)
        self.resized: list[str] = []
        self.thin: list[str] = []
        self.repeated: list[str] = []
        self.empty: list[str] = []
        self.crowds = 0
        self.box_sides: list[float] = []
        self.counts: list[np.ndarray] = []

    def take(self, index: int) -> None:
        """Reads one picture, for its content, for its size and for its boxes."""
        name, objects = str(self.dataset.names[index]), self.dataset.objects(index)
        self._count(name, objects)
        size = self.read(index, f"{self.split}: {name}", 0)
        if size is None:
            return
        height, width = size
        declared = self.dataset.declared_sizes[index] if isinstance(self.dataset, AnnotatedImages) else None
        if declared is not None and declared != (width, height):
            self.resized.append(f"{name} ({width} x {height}, not {declared[0]:g} x {declared[1]:g})")
        boxes = objects.boxes[~objects.crowds]
        sides = (boxes[:, 2:] - boxes[:, :2]) * (width, height)
        self.box_sides += np.sqrt(sides.prod(axis=1)).tolist()
        self.thin += [name] * int((sides < THIN_BOX).any(axis=1).sum())

    def _count(self, name: str, objects: Objects) -> None:
        single = objects[~objects.crowds]
        self.crowds += len(objects) - len(single)
        self.counts.append(np.bincount(single.labels, minlength=len(self.dataset.classes)))
        if not len(objects):
            self.empty.append(name)
        boxes = torch.from_numpy(single.boxes)
        same = (box_iou(boxes, boxes) > SAME_BOX) & torch.from_numpy(single.labels[:, None] == single.labels[None])
        self.repeated += [name] * int(same.triu(1).sum())

    def report(self) -> BoxesSplitReport:
        """Sums up."""
        dataset, sides, counts = self.dataset, np.array(self.box_sides), np.stack(self.counts)
        objects, pictures = counts.sum(axis=0).tolist(), (counts > 0).sum(axis=0).tolist()
        places = (dataset.sticking_out, dataset.without_area) if isinstance(dataset, AnnotatedImages) else ((), ())
        sticking_out, without_area = (tuple(str(dataset.names[index]) for index in indices) for indices in places)
        small, large = int((sides < _SMALL).sum()), int((sides >= _LARGE).sum())
        return BoxesSplitReport(
            self.split, dataset.origin, dataset.fingerprint, len(dataset), sum(objects), self.crowds,
            dict(zip(dataset.classes, zip(objects, pictures, strict=True), strict=True)), range_of_sides(self.sizes),
            (round(sides.min()), round(np.median(sides)), round(sides.max())) if len(sides) else None,
            (small, len(sides) - small - large, large), tuple(self.broken), tuple(self.resized), sticking_out,
            without_area, tuple(self.thin), tuple(self.repeated), tuple(self.empty), self._without(counts > 0),
        )  # fmt: skip

    def _without(self, shown: np.ndarray) -> dict[str, tuple[str, ...]]:
        """Names the few pictures with objects, but with none of a class that nearly all pictures show."""
        filled, found = shown.any(axis=1), {}
        for name, here in zip(self.dataset.classes, shown.T, strict=True):
            absent = np.flatnonzero(filled & ~here).tolist()
            if absent and here.mean() >= NEARLY_ALL:
                found[name] = tuple(str(self.dataset.names[index]) for index in absent)
        return found


def _harm_in(report: BoxesSplitReport) -> list[str]:
    """Says what of one split would hurt."""
    found, split = [], report.split
    broken = [skipped.name for skipped in report.broken]
    for names, what in (
        (broken, "cannot be read and would be skipped"),
        (report.resized, "of another size than its annotations say, so that boxes may lie elsewhere"),
    ):
        if names:
            found.append(f"{count_of(len(names), 'picture')} of {split} {what}: {some_of(tuple(names))}.")
    for names, what in (
        (report.sticking_out, "beyond the picture's edge, to be clipped"),
        (report.without_area, "without area in the picture, to be left out"),
        (report.repeated, f"drawn twice (same class, overlap above {SAME_BOX:.0%})"),
    ):
        if names:
            pictures = some_of(tuple(dict.fromkeys(names)))
            found.append(f"{count_of(len(names), 'box', 'boxes')} of {split} {what}, in {pictures}.")
    if report.images and not report.objects:
        found.append(f"No picture of {split} shows an object.")
    return found


def _harm_between(
    opened: Mapping[str, Any], reports: list[BoxesSplitReport], leaked: tuple[tuple[str, ...], ...]
) -> list[str]:
    """Says what would hurt of how splits go together."""
    found = []
    if leaked:
        found.append(
            f"{count_of(len(leaked), 'picture')} in more than one split, so the score would be too good, first "
            f"{' = '.join(leaked[0])}."
        )
    if len({(dataset.classes, dataset.category_ids) for dataset in opened.values()}) > 1:
        found.append(f"The classes of {' and '.join(opened)} differ: list the same ones, with the same ids, in each.")
    learned = next((report.per_class for report in reports if report.split == "train"), None)
    for report in reports:
        if learned is None or report.split == "train":
            continue
        unseen = [
            name for name, (objects, _) in report.per_class.items() if objects and not learned.get(name, (0, 0))[0]
        ]
        if unseen:
            found.append(
                f"{count_of(len(unseen), 'class', 'classes')} in {report.split} that train never shows: "
                f"{some_of(unseen)}."
            )
    return found


def _notes(ids: tuple[int, ...], reports: list[BoxesSplitReport]) -> list[str]:
    notes = []
    if ids and max(ids) - min(ids) >= len(ids):
        notes.append(f"The category ids have holes ({min(ids)} to {max(ids)}); they are mapped, and results lead back.")
    for report in reports:
        notes += _perhaps_forgotten(report)
        if report.thin:
            boxes, pictures = count_of(len(report.thin), "box", "boxes"), some_of(tuple(dict.fromkeys(report.thin)))
            notes.append(f"{boxes} of {report.split} with a side under {THIN_BOX:g} pixels, in {pictures}.")
        if report.sides is not None and report.sides[0][0] < TINY_SIDE:
            notes.append(f"Pictures of {report.split} have sides from {report.sides[0][0]} pixels on.")
    counts = {report.split: report.per_class for report in reports}
    for split, per_class in counts.items():
        absent = [name for name, (objects, _) in per_class.items() if not objects]
        if absent:
            notes.append(
                f"{count_of(len(absent), 'class', 'classes')} without an object in {split}: {some_of(absent)}."
            )
    few = [name for name, (objects, _) in counts.get("train", {}).items() if 0 < objects < FEW_IMAGES]
    if few:
        notes.append(
            f"{count_of(len(few), 'class', 'classes')} with fewer than {FEW_IMAGES} objects in train: {some_of(few)}."
        )
    return notes


def _perhaps_forgotten(report: BoxesSplitReport) -> list[str]:
    """Says which pictures look as if somebody had not come to label them."""
    notes, most = [], (1 - NEARLY_ALL) * report.images
    if report.empty:
        few = f", so few that they may have been forgotten: look at {some_of(report.empty)}"
        said = few if len(report.empty) <= most else ""
        notes.append(f"{count_of(len(report.empty), 'picture')} of {report.split} without objects{said}.")
    for name, pictures in report.without.items():
        notes.append(
            f"{count_of(len(pictures), 'picture')} of {report.split} without {name}, which at least {NEARLY_ALL:.0%} "
            f"show, so that it may have been forgotten there: look at {some_of(pictures)}."
        )
    return notes
