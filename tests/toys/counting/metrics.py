"""The measure of counting: the mean absolute error, which is better when it is smaller."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sparsevision.types import Batch, ClassMetadata, Table


@dataclass(frozen=True)
class CountingReport:
    images: int
    error: float
    worst: float

    def scalars(self) -> dict[str, float]:
        return {"images": self.images, "error": self.error, "worst": self.worst}

    def tables(self) -> list[Table]:
        rows = (("mean", f"{self.error:.3f}"), ("worst", f"{self.worst:.3f}"))
        return [Table(heading=f"{self.images} images", columns=("error", "objects"), rows=rows)]

    def headline(self) -> str:
        return f"mean error {self.error:.3f}"

    def to_dict(self) -> dict[str, Any]:
        return self.scalars()

    def class_metadata(self) -> ClassMetadata:
        return ClassMetadata()


class CountingMetrics:
    def __init__(self) -> None:
        self.errors: list[float] = []

    def to(self, device: Any) -> CountingMetrics:
        return self

    def update(self, output: Any, batch: Batch) -> None:
        self.errors += (output.counts - batch.targets).abs().tolist()

    def compute(self) -> CountingReport:
        errors = self.errors
        return CountingReport(len(errors), sum(errors) / max(len(errors), 1), max(errors, default=0.0))


def write_errors(report: CountingReport, path: Path) -> None:
    path.write_text(f"mean,{report.error}\nworst,{report.worst}\n", encoding="utf-8")


def squared(error: torch.Tensor, power: float) -> torch.Tensor:
    return error.abs() ** (1 + power)
