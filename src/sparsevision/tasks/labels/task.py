"""Tasks whose answer is one class, by cross entropy over logits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevision.data.dataset import Dataset
from sparsevision.data.loading import batch_of
from sparsevision.errors import ConfigError, DataError, UnreadableImageError
from sparsevision.outputs import at_least_single
from sparsevision.tasks.contract import Collate, Measure, ReportWriterEntry, Task
from sparsevision.tasks.labels.metrics import ClassificationMetrics, write_confusion
from sparsevision.tasks.labels.mixing import MixedCollate
from sparsevision.tasks.labels.result import ClassificationResult
from sparsevision.types import Batch, ClassMetadata, Control, Option, Preprocessing, Sample

_SAMPLED = 100  # images that are opened for a remark on all


class LabelTask(Task):
    """Recognition of one class among `classes`; targets are labels (B,), or shares of them (B, K) in mixed batches.

    The loss is summed over the batch and divided by the `count` that the loop hands over, so that it means the same
    under accumulation and on several processes. A model that embeds has no classes; its results have no labels.
    """

    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(name="top1", label="top-1"),
        Measure(name="mean_class", label="mean over classes"),
        Measure(name="top5", label="top-5"),
    )
    returns_logits: ClassVar[bool] = True
    report_writers: ClassVar[Mapping[str, ReportWriterEntry]] = {
        "confusion": ReportWriterEntry(
            description="the whole matrix of confusions (rows: true, columns: predicted), as CSV", write=write_confusion
        )
    }
    settings: Any

    def __init__(
        self, classes: Sequence[str], class_metadata: ClassMetadata | None = None, *, settings: Any = None,
        labels: Sequence[int] = (),
    ) -> None:  # fmt: skip
        super().__init__(classes, class_metadata, settings=settings)
        loss, number = self.settings.loss, len(self.classes)
        weights = loss.class_weights
        if weights == "balanced":
            weights = balanced_weights(list(labels), number)
        if weights != "none" and len(weights) != number:
            raise ConfigError(f"There are {len(weights)} class weights for {number} classes: give one each.")
        self.class_weights = None if weights == "none" else torch.tensor(weights, dtype=torch.float32)
        self.label_smoothing = loss.label_smoothing

    @classmethod
    def check_sets(cls, spec: str, train: Dataset, val: Dataset) -> None:
        """Refuses empty sets, and a single class."""
        super().check_sets(spec, train, val)
        if len(train.classes) < 2:
            raise DataError(
                f"{spec!r} has the class {train.classes[0]!r} alone, so there is nothing to learn: add another."
            )

    def remarks(self, train: Dataset, val: Dataset, preprocessing: Preprocessing, model: Any) -> list[str]:
        """Tells how much a centre crop never shows, by some of the images or videos that are scored."""
        from sparsevision.tasks.labels.inspection import crop_remarks

        sizes = []
        for index in range(0, len(val), max(len(val) // _SAMPLED, 1)):
            with suppress(UnreadableImageError):
                record = val.read(index)
                sizes.append(record.original_size or self.size_of(record.image))
        return crop_remarks(sizes, preprocessing)

    @staticmethod
    @abstractmethod
    def size_of(image: Any) -> tuple[int, int]:
        """Returns the height and width of what a data set has read."""

    @classmethod
    def relabel(cls, target: int, labels: Sequence[int]) -> int:
        """Returns the model's number of a class."""
        return labels[target]

    def train_collate(self) -> Collate:
        """Returns the collate that mixes images, where the settings ask for it."""
        options = self.settings.transforms
        mixes = options.mix_probability > 0 and (options.mixup > 0 or options.cutmix > 0)
        return MixedCollate(self.collate, options, len(self.classes)) if mixes else self.collate

    def collate(self, samples: list[Sample]) -> Batch:
        """Stacks samples; those of different sizes are padded and their `sizes` given."""
        return batch_of(samples, torch.tensor([sample.target for sample in samples], dtype=torch.long))

    def blank(self, preprocessing: Preprocessing) -> Batch:
        """Returns a batch of one empty image, with shares of 0 of every class."""
        images = torch.zeros(1, *preprocessing.input_shape(len(preprocessing.mean)))
        return Batch(images, torch.zeros(1, len(self.classes)), [""], [-1])

    def count(self, batch: Batch) -> Tensor:
        """Returns the number of images (1,)."""
        return torch.tensor([float(len(batch))])

    def loss(self, output: Tensor, batch: Batch, count: Tensor) -> dict[str, Tensor]:
        """Returns {the task's name: cross entropy summed over the batch / count}."""
        logits, targets = at_least_single(output), batch.targets
        weights = None if self.class_weights is None else self.class_weights.to(logits)
        shares = targets.to(logits.dtype) if targets.is_floating_point() else targets
        total = F.cross_entropy(logits, shares, weight=weights, label_smoothing=self.label_smoothing, reduction="sum")
        return {self.name: total / count.squeeze().clamp(min=1)}

    def metrics(self) -> ClassificationMetrics:
        """Returns a fresh accumulator of measures."""
        return ClassificationMetrics(self.classes, self.things)

    @property
    def options(self) -> Mapping[str, Option]:
        """The number of classes in a result."""
        most = max(len(self.classes), 1)
        about = "number of the best classes in each result"
        return {"top_k": Control("top_k", min(5, most), 1, 1_000_000, about, whole=True)}

    def reader(self, **options: Any) -> Callable[[Tensor, Batch], list[ClassificationResult]]:
        """Returns a function from logits (B, K), or an embedding, and their batch to results of the best classes."""
        return partial(self.results, top_k=int(options.get("top_k", 5)))

    def results(self, output: Tensor, batch: Batch, *, top_k: int = 5) -> list[ClassificationResult]:
        """Turns logits (B, K) into one result an image, with the `top_k` best classes."""
        geometries = batch.geometries or [None] * len(batch)
        if not self.classes:
            return [
                ClassificationResult(name=name, labels=(), scores=(), geometry=geometry)
                for name, geometry in zip(batch.names, geometries, strict=True)
            ]
        scores, indices = at_least_single(output).softmax(-1).topk(min(top_k, len(self.classes)))
        rows = zip(batch.names, indices.tolist(), scores.tolist(), geometries, strict=True)
        return [
            ClassificationResult(
                name=name, classes=self.classes, labels=tuple(self.classes[i] for i in row), scores=tuple(values),
                geometry=geometry,
            )
            for name, row, values, geometry in rows
        ]  # fmt: skip


def balanced_weights(labels: list[int], classes: int) -> tuple[float, ...]:
    """Returns one weight a class, inverse to its share; they are 1 on average over the images."""
    counts = torch.bincount(torch.tensor(labels), minlength=classes).tolist()
    present = sum(1 for count in counts if count)
    return tuple(len(labels) / (present * count) if count else 0.0 for count in counts)
