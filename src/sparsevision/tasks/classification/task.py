"""Naming what a picture shows: the loss, the measures, and what a user gets for one picture."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevision.errors import ConfigError, MissingExtraError
from sparsevision.tasks.classification.result import ClassificationResult
from sparsevision.types import Batch, ClassFacts, Control, Sample


@dataclass(frozen=True)
class ClassificationReport:
    """How well a classifier does on a labelled data set.

    `loss` is the mean cross entropy; `top1`, `top5` and `mean_class` (recall averaged over the classes that occur) are
    fractions; `per_class` has None for classes without pictures; `confusion[true][predicted]` counts pictures.
    """

    pictures: int
    loss: float
    top1: float
    top5: float
    mean_class: float
    classes: tuple[str, ...]
    per_class: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]

    @property
    def score(self) -> float:
        """The number by which one set of weights counts as better than another."""
        return self.top1

    def scalars(self) -> dict[str, float]:
        """Returns the measures that are one number."""
        names = ("pictures", "loss", "top1", "top5", "mean_class")
        return {name: getattr(self, name) for name in names}

    def headline(self) -> str:
        """Says the measures that matter in one line."""
        accuracy = f"top-1 {self.top1:.2%}, mean over classes {self.mean_class:.2%}, top-5 {self.top5:.2%}"
        return f"{accuracy}, loss {self.loss:.4f}"

    def facts(self) -> ClassFacts:
        """Returns nothing: a classifier's classes have names alone."""
        return ClassFacts()

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON takes it."""
        return {
            **self.scalars(),
            "per_class": dict(zip(self.classes, self.per_class, strict=True)),
            "confusion": {"classes": list(self.classes), "counts": [list(row) for row in self.confusion]},
        }


class ClassificationTask:
    """Classification among `classes`; targets are labels (B,), or shares of the classes (B, K) in mixed batches.

    `class_weights` (K,) multiply each class's part of the loss. The loss is summed over pictures and divided by the
    `count` that the loop hands over, so that it means the same under accumulation and on several processes.
    """

    score_name = "top-1"
    options: ClassVar[dict[str, Control]] = {
        "top_k": Control("top_k", 5, 1, 100_000, "number of the best classes that a result lists", whole=True)
    }

    def __init__(
        self, classes: Sequence[str], *, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None
    ) -> None:
        if class_weights is not None and len(class_weights) != len(classes):
            raise ConfigError(
                f"There are {len(class_weights)} class weights for {len(classes)} classes: give one each."
            )
        self.classes = tuple(classes)
        self.label_smoothing = label_smoothing
        self.class_weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Stacks samples, those of different sizes padded with zeros at the right and below and their `sizes` given.

        An empty list gives an empty batch.
        """
        images, sizes = stacked([sample.image for sample in samples])
        return Batch(
            images=images,
            sizes=sizes,
            targets=torch.tensor([sample.target for sample in samples], dtype=torch.long),
            names=[sample.name for sample in samples],
            indices=[sample.index for sample in samples],
            geometries=[sample.geometry for sample in samples],
        )

    def blank(self, channels: int, size: int) -> Batch:
        """Returns a batch of one picture that shows nothing, with shares of 0 of every class."""
        return Batch(torch.zeros(1, channels, size, size), torch.zeros(1, len(self.classes)), [""], [-1])

    def count(self, batch: Batch) -> Tensor:
        """What the loss is averaged over: the pictures."""
        return torch.tensor([float(len(batch))])

    def loss(self, output: Tensor, batch: Batch, count: float | Tensor) -> dict[str, Tensor]:
        """Returns {"classification": cross entropy summed over the batch's pictures / count}."""
        weights = None if self.class_weights is None else self.class_weights.to(output.device)
        total = F.cross_entropy(
            output.float(), batch.targets, weight=weights, label_smoothing=self.label_smoothing, reduction="sum"
        )
        return {"classification": total / (count.squeeze() if isinstance(count, Tensor) else count)}

    def metrics(self) -> ClassificationMetrics:
        """Returns a fresh accumulator of measures, which joins the processes of a distributed run."""
        return ClassificationMetrics(self.classes)

    def results(self, output: Tensor, batch: Batch, *, top: int = 5) -> list[ClassificationResult]:
        """Turns logits (B, K) into one result a picture, with the `top` best classes."""
        scores, indices = output.float().softmax(-1).topk(min(top, len(self.classes)))
        geometries = batch.geometries or [None] * len(batch)
        return [
            ClassificationResult(
                name=name, classes=self.classes, labels=tuple(self.classes[i] for i in row), scores=tuple(values),
                geometry=geometry,
            )  # fmt: skip
            for name, row, values, geometry in zip(
                batch.names, indices.tolist(), scores.tolist(), geometries, strict=True
            )
        ]

    def reading(self, **options: Any) -> Callable[[Tensor, Batch], list[ClassificationResult]]:
        """Returns what turns logits and their batch into results with the `top_k` best classes, 5 unless given."""
        top_k = options.get("top_k", 5)
        if not isinstance(top_k, int) or top_k < 1:
            raise ConfigError(f"top_k is {top_k}; it must be a whole number of at least 1.")
        return partial(self.results, top=top_k)


class ClassificationMetrics:
    """Collects logits against labels; `compute` joins what every process collected."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        try:
            from torchmetrics import MeanMetric, MetricCollection
            from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix
        except ImportError:
            raise MissingExtraError("torchmetrics", "train", "Evaluating") from None
        self.classes = classes
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
        pictures = int(present.sum())
        if pictures == 0:
            return self._empty()
        per_class = [float(r / n) if n else None for r, n in zip(right.tolist(), present.tolist(), strict=True)]
        known = [share for share in per_class if share is not None]
        return ClassificationReport(
            pictures=pictures,
            loss=float(self.loss.compute()),
            top1=float(right.sum()) / pictures,
            top5=float(self.measures["top5"].compute()),
            mean_class=sum(known) / len(known),
            classes=self.classes,
            per_class=tuple(per_class),
            confusion=tuple(tuple(row) for row in confusion.tolist()),
        )

    def _empty(self) -> ClassificationReport:
        number = len(self.classes)
        nothing = ((0,) * number,) * number
        return ClassificationReport(0, float("nan"), 0.0, 0.0, 0.0, self.classes, (None,) * number, nothing)


def stacked(images: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Returns (B, C, H, W), and the valid sizes (B, 2) where not all images are as large as the batch."""
    if not images:
        return torch.zeros(0, 3, 1, 1), None
    if len({image.shape for image in images}) == 1:
        return torch.stack(list(images)), None
    sizes = torch.tensor([image.shape[-2:] for image in images])
    height, width = sizes.amax(0).tolist()
    padded = [F.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2])) for image in images]
    return torch.stack(padded), sizes
