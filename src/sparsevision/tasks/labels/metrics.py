"""Measures of a classifier: accuracies, loss, confusions."""

from __future__ import annotations

import csv
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevision.errors import DataError, MissingExtraError
from sparsevision.types import Batch, ClassMetadata, Table
from sparsevision.wording import count_of


@dataclass(frozen=True)
class ClassificationReport:
    """The measures of a classifier on a labelled data set.

    `loss` is the mean cross entropy; `top1`, `top5` and `mean_class` (recall averaged over the classes that occur) are
    fractions; `per_class` has None for classes without images; `confusion[true][predicted]` counts images, or
    what else the `things` are.
    """

    images: int
    loss: float
    top1: float
    top5: float
    mean_class: float
    classes: tuple[str, ...]
    per_class: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]
    things: str = "images"

    def scalars(self) -> dict[str, float | None]:
        """Returns the measures that are one number."""
        names = ("images", "loss", "top1", "top5", "mean_class")
        return {name: getattr(self, name) for name in names}

    def headline(self) -> str:
        """Returns the measures that matter in one line."""
        # Of five classes or fewer, one of the best five is always right.
        top5 = f", top-5 {self.top5:.2%}" if len(self.classes) > 5 else ""
        return f"top-1 {self.top1:.2%}{top5}, mean over classes {self.mean_class:.2%}, loss {self.loss:.4f}"

    def class_metadata(self) -> ClassMetadata:
        """Returns nothing: the classes of a classifier have names alone."""
        return ClassMetadata()

    def tables(self) -> list[Table]:
        """Returns the accuracy of each class, and the classes that it was most confused with."""
        rows = [
            (name, str(sum(counts)), f"{accuracy:.1%}", self._confused(name, counts))
            for name, accuracy, counts in zip(self.classes, self.per_class, self.confusion, strict=True)
            if accuracy is not None
        ]
        heading = f"{count_of(self.images, self.things.removesuffix('s'))}: {self.headline()}"
        columns = ("class", self.things, "accuracy", "most confused with")
        return [Table(heading=heading, columns=columns, rows=tuple(rows))]

    def _confused(self, name: str, counts: tuple[int, ...], most: int = 3) -> str:
        wrong = [(count, other) for count, other in zip(counts, self.classes, strict=True) if count and other != name]
        return ", ".join(f"{other} ({count})" for count, other in sorted(wrong, reverse=True)[:most])

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON takes it."""
        return {
            **self.scalars(),
            "per_class": dict(zip(self.classes, self.per_class, strict=True)),
            "confusion": {"classes": list(self.classes), "counts": [list(row) for row in self.confusion]},
        }


class ClassificationMetrics:
    """Collects logits against labels; `compute` joins what every process collected."""

    def __init__(self, classes: tuple[str, ...], things: str = "images") -> None:
        try:
            from torchmetrics import MeanMetric, MetricCollection
            from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix
        except ImportError:
            raise MissingExtraError("torchmetrics", "Evaluating") from None
        self.classes, self.things = classes, things
        number = max(len(classes), 2)  # torchmetrics refuses a problem of one class
        self.measures = MetricCollection(
            {
                "confusion": MulticlassConfusionMatrix(number),
                "top5": MulticlassAccuracy(number, top_k=min(5, number), average="micro"),
            },
            compute_groups=False,
        )
        self.loss = MeanMetric()

    def to(self, device: Any) -> ClassificationMetrics:
        """Moves what was collected to a device."""
        self.measures.to(device)
        self.loss.to(device)
        return self

    def update(self, output: Tensor, batch: Batch) -> None:
        """Adds a batch: logits (B, K), labels (B,)."""
        if not len(batch):
            return
        logits = output.detach().float()
        losses = F.cross_entropy(logits, batch.targets, reduction="none")
        if logits.shape[1] == 1:
            logits = torch.cat([logits, torch.full_like(logits, -torch.inf)], 1)
        self.measures.update(logits, batch.targets)
        self.loss.update(losses)

    def compute(self) -> ClassificationReport:
        """Returns the report over everything that was added, on all processes."""
        with warnings.catch_warnings():
            # Of nothing, too, the processes' parts are joined; torchmetrics warns of it.
            warnings.filterwarnings("ignore", "The ``compute`` method", UserWarning)
            confusion = self.measures["confusion"].compute().cpu()[: len(self.classes), : len(self.classes)]
        present, right = confusion.sum(1), confusion.diagonal()
        images = int(present.sum())
        if images == 0:
            return self._empty()
        per_class = [float(r / n) if n else None for r, n in zip(right.tolist(), present.tolist(), strict=True)]
        known = [share for share in per_class if share is not None]
        return ClassificationReport(
            images=images, loss=float(self.loss.compute()), top1=float(right.sum()) / images,
            top5=float(self.measures["top5"].compute()), mean_class=sum(known) / len(known), classes=self.classes,
            per_class=tuple(per_class), confusion=tuple(tuple(row) for row in confusion.tolist()), things=self.things,
        )  # fmt: skip

    def _empty(self) -> ClassificationReport:
        number = len(self.classes)
        nothing = ((0,) * number,) * number
        return ClassificationReport(0, float("nan"), 0.0, 0.0, 0.0, self.classes, (None,) * number, nothing)


def write_confusion(report: ClassificationReport, path: Path) -> None:
    """Writes the whole matrix of confusions (rows: true, columns: predicted) as CSV."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["true \\ predicted", *report.classes])
            writer.writerows([name, *row] for name, row in zip(report.classes, report.confusion, strict=True))
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be written: {error.strerror}.") from None
