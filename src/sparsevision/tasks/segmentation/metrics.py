"""Measures of a segmenter: shares of pixels from one confusion matrix, and how well boundaries are met."""

from __future__ import annotations

import csv
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsevision.data.masks import IGNORED
from sparsevision.errors import DataError, MissingExtraError
from sparsevision.outputs import SegmentationOutput
from sparsevision.tasks.contract import Measure
from sparsevision.tasks.segmentation.post_processing import class_map
from sparsevision.types import Batch, ClassMetadata, Table
from sparsevision.wording import count_of

MEASURES = (
    Measure(name="miou", label="mIoU"),
    Measure(name="mean_class", label="mean accuracy"),
    Measure(name="pixels", label="pixel accuracy"),
    Measure(name="boundary", label="boundary F"),
)
# A boundary is met within this share of the image's diagonal (Csurka and others, 2013).
_NEAR = 0.0075


@dataclass(frozen=True)
class ClassScore:
    """The measures of one class as fractions, None where there was nothing to measure; `share` is that of the truth."""

    name: str
    share: float
    iou: float | None
    accuracy: float | None
    precision: float | None
    boundary: float | None


@dataclass(frozen=True)
class SegmentationReport:
    """The measures of a segmenter on a data set with masks.

    `miou` (intersection over union), `mean_class` (recall) and `boundary` (F-score) are means over the classes that
    occur; `confusion[true][predicted]` counts pixels.
    """

    images: int
    miou: float | None
    mean_class: float | None
    pixels: float | None
    boundary: float | None
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]

    def scalars(self) -> dict[str, float | None]:
        """Returns the measures that are one number."""
        return {name: getattr(self, name) for name in ("images", *(measure.name for measure in MEASURES))}

    def headline(self) -> str:
        """Returns the measures that matter in one line."""
        return ", ".join(f"{measure.label} {measure.text(getattr(self, measure.name))}" for measure in MEASURES)

    def class_metadata(self) -> ClassMetadata:
        """Returns nothing: the classes of a segmenter have names alone."""
        return ClassMetadata()

    def tables(self) -> list[Table]:
        """Returns a row for each class."""
        columns = ("class", "share", "IoU", "accuracy", "precision", "boundary F")
        rows = tuple(
            (one.name, f"{one.share:.2%}", *map(_percent, (one.iou, one.accuracy, one.precision, one.boundary)))
            for one in self.per_class
        )
        heading = f"{count_of(self.images, 'image')}: {self.headline()}"
        return [Table(heading=heading, columns=columns, rows=rows, numbers=frozenset(range(1, len(columns))))]

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON takes it."""
        names = [one.name for one in self.per_class]
        return {
            **self.scalars(),
            "per_class": [vars(one) for one in self.per_class],
            "confusion": {"classes": names, "pixels": [list(row) for row in self.confusion]},
        }


def _percent(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.1%}"


class SegmentationMetrics:
    """Collects class maps against masks in pixels of the originals; memory does not grow with the images."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        try:
            from torchmetrics import Metric
        except ImportError:
            raise MissingExtraError("torchmetrics", "Evaluating") from None

        class Sums(Metric):
            """Sums of arrays, over all processes."""

            def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
                super().__init__()
                for name, shape in shapes.items():
                    self.add_state(name, torch.zeros(shape, dtype=torch.long), dist_reduce_fx="sum")

            def update(self, **values: Tensor) -> None:
                for name, value in values.items():
                    setattr(self, name, getattr(self, name) + value)

            def compute(self) -> dict[str, Tensor]:
                return {name: getattr(self, name).cpu() for name in self._defaults}

        self.classes = classes
        number = len(classes)
        # Of every class: pixels of its boundary and those of them that are met, in the truth and in what was found.
        self.sums = Sums({"confusion": (number, number), "boundary": (number, 4), "images": (1,)})

    def to(self, device: Any) -> SegmentationMetrics:
        """Moves what was collected to a device."""
        self.sums.to(device)
        return self

    def update(self, output: SegmentationOutput, batch: Batch) -> None:
        """Adds a batch, whose targets are one mask an image."""
        head, view = output.heads[0], (batch.images.shape[2], batch.images.shape[3])
        for index, mask in enumerate(batch.targets):
            found = class_map(head, index, view, (mask.shape[0], mask.shape[1])).long()
            self.add(found, mask.to(found.device))

    def add(self, found: Tensor, mask: Tensor) -> None:
        """Adds one class map (H, W) and the true one."""
        number, counts = len(self.classes), mask != IGNORED
        pairs = torch.bincount(mask[counts] * number + found[counts], minlength=number**2)
        sums = {"confusion": pairs.view(number, number), "images": pairs.new_ones(1)}
        boundary = _boundaries(found.cpu().numpy(), mask.cpu().numpy(), number)
        sums["boundary"] = torch.from_numpy(boundary.astype(np.int64)).to(mask.device)
        self.sums.update(**{name: value.long() for name, value in sums.items()})

    def compute(self) -> SegmentationReport:
        """Returns the report over everything that was added, on all processes."""
        with warnings.catch_warnings():
            # A report on no images is valid.
            warnings.filterwarnings("ignore", message=r"The ``compute`` method of metric")
            found = self.sums.compute()
        number, images = len(self.classes), found["images"]
        # It takes the axes of single numbers away.
        confusion, boundary = found["confusion"].view(number, number).double(), found["boundary"].view(number, 4)
        hits, true, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
        union, total = true + predicted - hits, float(confusion.sum())
        scores = tuple(
            ClassScore(
                name, share=_ratio(float(true[place]), total) or 0.0, iou=_ratio(hits[place], union[place]),
                accuracy=_ratio(hits[place], true[place]), precision=_ratio(hits[place], predicted[place]),
                boundary=_f_score(boundary[place].tolist()),
            )
            for place, name in enumerate(self.classes)
        )  # fmt: skip
        there = [score for score in scores if score.accuracy is not None]
        return SegmentationReport(
            images=int(images.sum()), miou=_mean([score.iou for score in there]),
            mean_class=_mean([score.accuracy for score in there]), pixels=_ratio(float(hits.sum()), total),
            boundary=_mean([score.boundary for score in there]), per_class=scores,
            confusion=tuple(tuple(map(int, row)) for row in confusion.tolist()),
        )  # fmt: skip


def _ratio(part: Any, whole: Any) -> float | None:
    return float(part) / float(whole) if whole else None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _f_score(counts: list[float]) -> float | None:
    met_true, true, met_found, found = counts
    if not true and not found:
        return None
    recall, precision = _ratio(met_true, true) or 0.0, _ratio(met_found, found) or 0.0
    return 2 * recall * precision / (recall + precision) if recall + precision else 0.0


def _boundaries(found: np.ndarray, mask: np.ndarray, number: int) -> np.ndarray:
    """Returns, for every class, (met, all) pixels of the true boundary and of the one that was found (K, 4)."""
    from scipy.ndimage import maximum_filter

    reach = max(1, round(_NEAR * float(np.hypot(*mask.shape))))
    counted = mask != IGNORED
    sums = np.zeros((number, 4))
    for label in np.unique(np.concatenate([mask[counted], found[counted]])):
        areas = [(each == label) & counted for each in (mask, found)]
        part = _around(areas[0] | areas[1], reach)
        edges = [_edge(area[part], counted[part]) for area in areas]
        true, predicted = edges
        near_true, near_predicted = (maximum_filter(edge, 2 * reach + 1) for edge in edges)
        sums[label] = (true & near_predicted).sum(), true.sum(), (predicted & near_true).sum(), predicted.sum()
    return sums


def _around(area: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Returns the rows and columns that an area lies in, with a margin."""
    rows, columns = (np.flatnonzero(area.any(axis=axis)) for axis in (1, 0))
    first, second = (slice(max(0, places[0] - margin), places[-1] + margin + 1) for places in (rows, columns))
    return first, second


def _edge(area: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Returns an area's pixels beside a counted one outside it; the image's own edge is not a boundary."""
    from scipy.ndimage import maximum_filter

    edge: np.ndarray = area & maximum_filter(~area & counted, 3)
    return edge


def write_confusion(report: SegmentationReport, path: Path) -> None:
    """Writes the matrix of confusions (rows: true, columns: predicted; pixels) as CSV."""
    names = [one.name for one in report.per_class]
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["true \\ predicted", *names])
            writer.writerows([name, *row] for name, row in zip(names, report.confusion, strict=True))
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be written: {error.strerror}.") from None
