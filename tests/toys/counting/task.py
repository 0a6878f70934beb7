"""Counting: one number an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparsevision.data.layouts.registry import DataLayout
from sparsevision.data.loading import batch_of
from sparsevision.data.preprocessing import EvaluationTransform
from sparsevision.errors import DataError
from sparsevision.tasks import Inspection, Measure, Task
from sparsevision.tasks.contract import Progress, ReportWriterEntry, Transform, WriterEntry
from sparsevision.tasks.registry import layout_of
from sparsevision.types import Batch, Control, Option, Preprocessing, Sample
from toys.counting.inspection import inspect_counts
from toys.counting.metrics import CountingMetrics, squared, write_errors
from toys.counting.result import CountingResult
from toys.counting.transforms import CountingSettings, train_transform
from toys.counting.writers import open_counts


class CountingTask(Task):
    name: ClassVar[str] = "counting"
    Settings: ClassVar[type[CountingSettings]] = CountingSettings
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(name="error", label="mean error", percent=False, higher_is_better=False),
    )
    recipe: ClassVar[str] = ""  # the test gives one
    writers: ClassVar[Mapping[str, WriterEntry]] = {
        "counts": WriterEntry(description="the counts", open=open_counts, options={"unit": "written beside each count"})
    }
    report_writers: ClassVar[Mapping[str, ReportWriterEntry]] = {
        "errors": ReportWriterEntry(description="the errors", write=write_errors)
    }
    settings: CountingSettings

    @classmethod
    def layout(cls, spec: str) -> DataLayout:
        found = layout_of(cls.name, spec)
        if found is None:
            raise DataError(f"{spec} has no tally.csv: write one.")
        return found

    @classmethod
    def inspect(cls, spec: str, *, seed: int = 0, progress: Progress | None = None) -> Inspection:
        return inspect_counts(partial(cls.open, spec), spec, progress)

    @classmethod
    def relabel(cls, target: float, labels: Sequence[int]) -> float:
        return target

    @classmethod
    def fitted(cls, preprocessing: Preprocessing) -> dict[str, Any]:
        return {"size": preprocessing.size[0]}

    def train_transform(self) -> Transform:
        return train_transform(self.settings.transforms)

    def evaluation_transform(self, preprocessing: Preprocessing) -> Transform:
        return EvaluationTransform(preprocessing, float)

    def collate(self, samples: list[Sample]) -> Batch:
        return batch_of(samples, torch.tensor([sample.target for sample in samples], dtype=torch.float32))

    def blank(self, preprocessing: Preprocessing) -> Batch:
        image = torch.zeros(1, len(preprocessing.mean), *preprocessing.size)
        return Batch(image, torch.zeros(1), [""], [-1])

    def count(self, batch: Batch) -> Tensor:
        return torch.tensor([float(len(batch))])

    def loss(self, output: Any, batch: Batch, count: Tensor) -> dict[str, Tensor]:
        error = squared(output.counts.float() - batch.targets, self.settings.loss.power)
        return {"count": error.sum() / count.squeeze().clamp(min=1)}

    def metrics(self) -> CountingMetrics:
        return CountingMetrics()

    @property
    def options(self) -> Mapping[str, Option]:
        return {"round_to": Control("round_to", 0.1, 0.01, 10.0, "unit that counts are rounded to")}

    def reader(self, **options: Any) -> Any:
        return partial(self._results, unit=options.get("round_to", 0.1))

    def _results(self, output: Any, batch: Batch, *, unit: float) -> list[CountingResult]:
        geometries = batch.geometries or [None] * len(batch)
        return [
            CountingResult(name=name, classes=self.classes, count=round(count / unit) * unit, geometry=geometry)
            for name, count, geometry in zip(batch.names, output.counts.tolist(), geometries, strict=True)
        ]
