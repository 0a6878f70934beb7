"""What is in a data set for detection, and what of it would hurt a training; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torchvision.ops import box_iou

from sparsevision.data.dataset import ObjectDataset, Objects
from sparsevision.data.inspection import (
    FEW_PICTURES,
    TINY_SIDE,
    Examination,
    Sides,
    copies_among,
    count_of,
    range_of_sides,
    some_of,
    take_all,
)
from sparsevision.data.object_pictures import ObjectPictures
from sparsevision.data.opening_objects import object_splits, open_objects
from sparsevision.errors import DataError
from sparsevision.types import Skipped

SAME_BOX = 0.95
NEARLY_ALL = 0.95
THIN_BOX = 2.0
# COCO's bounds between small, medium and large things, in pixels of the original picture.
_SMALL, _LARGE = 32.0, 96.0


@dataclass(frozen=True)
class ObjectSplitReport:
    """One split. `per_class` has (objects, pictures with any) of every class; crowds are counted apart.

    `sides` are of the pictures, see `data.inspection.SplitReport`; `box_sides` (least, median, most) of the square
    roots of the boxes' areas in pixels; `box_sizes` how many are small, medium and large as COCO has it. `resized` are
    pictures of another size than was declared. Four name pictures once for each box: that leaves the picture, has no
    area, has a side under 2 pixels, is there twice. `empty` are pictures without objects; `without` those that show
    nothing of a class which nearly all others show.
    """

    split: str
    origin: str
    fingerprint: str
    pictures: int
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
class ObjectsReport:
    """A data set for detection seen as a whole; see `data.inspection.DatasetReport`."""

    spec: str
    layout: str
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    splits: tuple[ObjectSplitReport, ...]
    leaked: tuple[tuple[str, ...], ...]
    harmful: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON takes it."""
        return asdict(self)


def inspect_objects(spec: str, *, seed: int = 0, progress: Callable[[int, int], None] | None = None) -> ObjectsReport:
    """Decodes every picture of every split once and reports what is there; `progress(done, of)` is told along the way.

    A split that cannot be opened gives its one sentence in `harmful`, not an exception.
    """
    opened: dict[str, ObjectDataset] = {}
    harmful: list[str] = []
    for split in _splits(spec):
        try:
            opened[split] = open_objects(spec, split, seed=seed)
        except DataError as error:
            harmful += [str(error)] if str(error) not in harmful else []
    examined = [_Examination(split, dataset) for split, dataset in opened.items()]
    take_all(examined, progress)
    reports = [one.report() for one in examined]
    leaked, _ = copies_among([picture for one in examined for picture in one.seen])
    first = next(iter(opened.values()), None)
    ids = () if first is None else first.category_ids
    harmful += [sentence for report in reports for sentence in _harm_in(report)]
    harmful += _harm_between(opened, reports, leaked)
    return ObjectsReport(
        str(spec), "" if first is None else first.layout, () if first is None else first.classes, ids, tuple(reports),
        leaked, tuple(harmful), tuple(_notes(ids, reports)),
    )  # fmt: skip


def _splits(spec: str) -> tuple[Any, ...]:
    try:
        return object_splits(spec)
    except DataError:
        # Opening says what is wrong with it.
        return ("train", "val")


class _Examination(Examination[ObjectDataset]):
    """Looks at the pictures of one split with boxes."""

    def __init__(self, split: str, dataset: ObjectDataset) -> None:
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
        declared = self.dataset.declared_sizes[index] if isinstance(self.dataset, ObjectPictures) else None
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

    def report(self) -> ObjectSplitReport:
        """Sums up."""
        dataset, sides, counts = self.dataset, np.array(self.box_sides), np.stack(self.counts)
        objects, pictures = counts.sum(axis=0).tolist(), (counts > 0).sum(axis=0).tolist()
        places = (dataset.sticking_out, dataset.without_area) if isinstance(dataset, ObjectPictures) else ((), ())
        sticking_out, without_area = (tuple(str(dataset.names[index]) for index in indices) for indices in places)
        small, large = int((sides < _SMALL).sum()), int((sides >= _LARGE).sum())
        return ObjectSplitReport(
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


def _harm_in(report: ObjectSplitReport) -> list[str]:
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
    if report.pictures and not report.objects:
        found.append(f"No picture of {split} shows an object.")
    return found


def _harm_between(
    opened: Mapping[str, ObjectDataset], reports: list[ObjectSplitReport], leaked: tuple[tuple[str, ...], ...]
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


def _notes(ids: tuple[int, ...], reports: list[ObjectSplitReport]) -> list[str]:
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
    few = [name for name, (objects, _) in counts.get("train", {}).items() if 0 < objects < FEW_PICTURES]
    if few:
        notes.append(
            f"{count_of(len(few), 'class', 'classes')} with fewer than {FEW_PICTURES} objects in train: {some_of(few)}."
        )
    return notes


def _perhaps_forgotten(report: ObjectSplitReport) -> list[str]:
    """Says which pictures look as if somebody had not come to label them."""
    notes, most = [], (1 - NEARLY_ALL) * report.pictures
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
