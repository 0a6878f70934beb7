"""Faults of a data set with boxes: broken images, copies in several splits, boxes that are wrong or missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torchvision.ops import box_iou

from sparsevision.data.dataset import Dataset
from sparsevision.data.inspection import (
    FEW_IMAGES,
    TINY_SIDE,
    Examination,
    Inspection,
    SplitInspection,
    copies,
    examine_splits,
    leaks,
    listed,
)
from sparsevision.data.objects import Objects
from sparsevision.tasks.detection.post_processing import BEST
from sparsevision.types import Table
from sparsevision.wording import count_of, some_of

SAME_BOX = 0.95
NEARLY_ALL = 0.95
THIN_BOX = 2.0
_MOST_CLASSES = 100  # of a table
_MOST_COMPARED = 2000  # boxes, each with each
# COCO's bounds between small, medium and large objects, in pixels of the original image.
_SMALL, _LARGE = 32.0, 96.0


@dataclass(frozen=True, kw_only=True)
class BoxesSplit(SplitInspection):
    """One split. `per_class` has (objects, images with any) of every class; crowds are counted apart.

    `most_objects` is the largest number in an image. `box_sides` are (least, median, most) of the square roots of the
    boxes' areas in pixels; `box_sizes` the numbers of small, medium and large ones as COCO has it. `resized` are images
    of another size than was declared. Four name images once for each box: that leaves the image, has no area, has a
    side under 2 pixels, is there twice. `empty` are images without objects; `without` those that show nothing of a
    class which nearly all others show.
    """

    objects: int
    most_objects: int
    crowds: int
    per_class: dict[str, tuple[int, int]]
    box_sides: tuple[int, int, int] | None
    box_sizes: tuple[int, int, int]
    resized: tuple[str, ...]
    sticking_out: tuple[str, ...]
    without_area: tuple[str, ...]
    thin: tuple[str, ...]
    repeated: tuple[str, ...]
    empty: tuple[str, ...]
    without: dict[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class BoxesInspection(Inspection):
    """A data set with boxes, in a layout, with its own numbers of the classes."""

    splits: Sequence[BoxesSplit] = ()
    layout: str = ""
    category_ids: tuple[int, ...] = ()

    def tables(self) -> list[Table]:
        """Returns a row for each split, and one for each class."""
        columns = ("split", "images", "empty", "short side", "long side", "broken", "objects", "crowds")
        heading = (
            f"Data set {self.spec} in the layout {self.layout}, {len(self.classes)} classes; sides in pixels: "
            "least–most (median); a box's is the root of its area"
        )
        rows = tuple(self._row(split) for split in self.splits)
        splits = Table(heading=heading, columns=(*columns, "side of a box", "small, medium, large"), rows=rows)
        classes = []
        for number, name in list(zip(self.category_ids, self.classes, strict=True))[:_MOST_CLASSES]:
            counts = [split.per_class.get(name, (0, 0)) for split in self.splits]
            classes.append((str(number), name, *(f"{objects} ({images})" for objects, images in counts)))
        more = len(self.classes) - _MOST_CLASSES
        note = f"and {more} classes more (--json lists all)" if more > 0 else ""
        headings = ("id", "class", *(f"{split.split}: objects (images)" for split in self.splits))
        return [splits, Table(columns=headings, rows=tuple(classes), note=note)]

    @staticmethod
    def _row(split: BoxesSplit) -> tuple[str, ...]:
        boxes = "-" if split.box_sides is None else "{0}–{2} ({1})".format(*split.box_sides)
        shown = (split.split, split.images, len(split.empty), *split.side_cells, len(split.broken))
        return (*map(str, (*shown, split.objects, split.crowds, boxes)), ", ".join(map(str, split.box_sizes)))


def inspect_boxes(
    open_split: Callable[[str], Dataset], splits_of: Callable[[], Sequence[str]],
    check: Callable[[str, Dataset, Dataset], None], spec: str,
    progress: Callable[[int, int], None] | None = None,
) -> BoxesInspection:  # fmt: skip
    """Decodes every image of every split once and reports faults; `progress(done, total)` is called along the way.

    A split that cannot be opened gives its one sentence in `harmful`, not an exception; so does what training would
    refuse, by the task's `check` of train and val.
    """
    examined = examine_splits(_BoxesExamination, open_split, splits_of, progress)
    if not examined.splits:
        return BoxesInspection(spec=spec, harmful=tuple(examined.refused))
    leaked = copies(examined.seen, "split")
    reports = [one.report() for one in examined.splits]
    first = examined.splits[0].dataset
    within = [sentence for report in reports for sentence in _harm_in(report)]
    return BoxesInspection(
        spec=spec, layout=first.layout, classes=first.classes, category_ids=first.category_ids, splits=reports,
        leaked=leaked,
        harmful=(*examined.refusals(check, spec), *within, *_harm_between(examined.opened, reports, leaked)),
        notes=(*examined.notes(), *_notes(first.category_ids, reports)),
    )  # fmt: skip


class _BoxesExamination(Examination):
    """Examines the images of one split with boxes."""

    def __init__(self, split: str, dataset: Dataset) -> None:
        super().__init__(split, dataset)
        self.resized: list[str] = []
        self.thin: list[str] = []
        self.repeated: list[str] = []
        self.empty: list[str] = []
        self.crowds = 0
        self.box_sides: list[float] = []
        self.counts: list[np.ndarray] = []

    def take(self, index: int) -> None:
        """Reads one image, for its content, for its size and for its boxes."""
        name, objects = str(self.dataset.names[index]), self.dataset.objects(index)
        self._count(name, objects)
        if self.read(index, f"{self.split}: {name}", 0) is None:
            return
        height, width = self.sizes[-1]
        declared = getattr(self.dataset, "declared_sizes", {index: None})[index]
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
        self.empty += [name] * (not len(objects))
        self.repeated += [name] * _repeated(single)

    def report(self) -> BoxesSplit:
        """Sums up."""
        classes, sides, counts = self.dataset.classes, np.array(self.box_sides), np.stack(self.counts)
        objects, images = counts.sum(axis=0).tolist(), (counts > 0).sum(axis=0).tolist()
        small, large = int((sides < _SMALL).sum()), int((sides >= _LARGE).sum())
        return BoxesSplit(
            **self.basics(), objects=sum(objects), most_objects=int(counts.sum(axis=1).max(initial=0)),
            crowds=self.crowds,
            per_class=dict(zip(classes, zip(objects, images, strict=True), strict=True)),
            box_sides=(round(sides.min()), round(np.median(sides)), round(sides.max())) if len(sides) else None,
            box_sizes=(small, len(sides) - small - large, large), resized=tuple(self.resized),
            sticking_out=self._named(getattr(self.dataset, "sticking_out", ())),
            without_area=self._named(getattr(self.dataset, "without_area", ())), thin=tuple(self.thin),
            repeated=tuple(self.repeated), empty=tuple(self.empty), without=self._without(counts > 0),
        )  # fmt: skip

    def _named(self, indices: Sequence[int]) -> tuple[str, ...]:
        return tuple(str(self.dataset.names[index]) for index in indices)

    def _without(self, shown: np.ndarray) -> dict[str, tuple[str, ...]]:
        """Names the few images with objects, but with none of a class that nearly all images show."""
        filled, found = shown.any(axis=1), {}
        for name, here in zip(self.dataset.classes, shown.T, strict=True):
            absent = np.flatnonzero(filled & ~here).tolist()
            if absent and here.mean() >= NEARLY_ALL:
                found[name] = self._named(absent)
        return found


def _repeated(objects: Objects) -> int:
    """Counts boxes that are drawn twice; among very many only those that are equal."""
    if len(objects) > _MOST_COMPARED:
        rows = np.concatenate([objects.boxes.round(4), objects.labels[:, None]], axis=1)
        return len(rows) - len(np.unique(rows, axis=0))
    boxes = torch.from_numpy(objects.boxes)
    same = (box_iou(boxes, boxes) > SAME_BOX) & torch.from_numpy(objects.labels[:, None] == objects.labels[None])
    return int(same.triu(1).sum())


def _boxes(names: Sequence[str], what: str) -> list[str]:
    """Returns a sentence that counts boxes and names their images; none without boxes."""
    count, images = count_of(len(names), "box", "boxes"), some_of(tuple(dict.fromkeys(names)))
    return [f"{count} {what}, in {images}."] if names else []


def _harm_in(report: BoxesSplit) -> list[str]:
    """Returns the faults of one split."""
    split, broken = f"of {report.split}", [skipped.name for skipped in report.broken]
    return [
        *listed(broken, f"{split} cannot be read and would be skipped"),
        *listed(report.resized, f"{split} of another size than its annotations say, so that boxes may lie elsewhere"),
        *_boxes(report.sticking_out, f"{split} beyond the image's edge, to be clipped"),
        *_boxes(report.without_area, f"{split} without area in the image, to be omitted"),
        *_boxes(report.repeated, f"{split} drawn twice (same class, overlap above {SAME_BOX:.0%})"),
        *([f"No image {split} shows an object."] if report.images and not report.objects else []),
    ]


def _harm_between(
    opened: Mapping[str, Any], reports: Sequence[BoxesSplit], leaked: Sequence[Sequence[str]]
) -> list[str]:
    """Returns the faults of splits beside each other."""
    found = leaks(leaked)
    if len({(dataset.classes, dataset.category_ids) for dataset in opened.values()}) > 1:
        found.append(f"The classes of {' and '.join(opened)} differ: list the same ones, with the same ids, in each.")
    learned = next((report.per_class for report in reports if report.split == "train"), {})
    shown = {name for name, (objects, _) in learned.items() if objects}
    for report in reports if learned else ():
        unseen = [name for name, (objects, _) in report.per_class.items() if objects and name not in shown]
        found += listed(unseen, f"in {report.split} that train never shows", "class", "classes")
    return found


def _notes(ids: Sequence[int], reports: Sequence[BoxesSplit]) -> list[str]:
    notes = []
    if ids and max(ids) - min(ids) >= len(ids):
        notes.append(f"The category ids have holes ({min(ids)} to {max(ids)}); they are mapped, and results lead back.")
    for report in reports:
        if report.most_objects > BEST:
            notes.append(
                f"An image of {report.split} shows {report.most_objects:,} objects, perhaps more than a model has "
                "queries (its num_queries, which `train` raises where it can)."
            )
        notes += _perhaps_forgotten(report)
        notes += _boxes(report.thin, f"of {report.split} with a side under {THIN_BOX:g} pixels")
        if report.sides is not None and report.sides[0][0] < TINY_SIDE:
            notes.append(f"Images of {report.split} have sides of {report.sides[0][0]} pixels and more.")
    for report in reports:
        absent = [name for name, (objects, _) in report.per_class.items() if not objects]
        notes += listed(absent, f"without an object in {report.split}", "class", "classes")
    learned = next((report.per_class for report in reports if report.split == "train"), {})
    few = [name for name, (objects, _) in learned.items() if 0 < objects < FEW_IMAGES]
    return notes + listed(few, f"with fewer than {FEW_IMAGES} objects in train", "class", "classes")


def _perhaps_forgotten(report: BoxesSplit) -> list[str]:
    """Returns notes of images that may not have been annotated."""
    notes, most = [], (1 - NEARLY_ALL) * report.images
    if report.empty:
        few = f", so few that they may have been forgotten: look at {some_of(report.empty)}"
        told = few if len(report.empty) <= most else ""
        notes.append(f"{count_of(len(report.empty), 'image')} of {report.split} without objects{told}.")
    for name, images in report.without.items():
        notes.append(
            f"{count_of(len(images), 'image')} of {report.split} without {name}, which at least {NEARLY_ALL:.0%} "
            f"show, so that it may have been forgotten there: look at {some_of(images)}."
        )
    return notes
