"""Faults of a data set for counting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sparsevision.data.dataset import Dataset
from sparsevision.data.inspection import Examination, Inspection, SplitInspection, take_all
from sparsevision.types import Table


@dataclass(frozen=True, kw_only=True)
class CountingInspection(Inspection):
    counts: dict[str, tuple[int, float]] = field(default_factory=dict)

    def tables(self) -> list[Table]:
        rows = tuple((split, str(images), f"{objects:g}") for split, (images, objects) in self.counts.items())
        return [Table(columns=("split", "images", "objects"), rows=rows)]


class CountingExamination(Examination):
    def take(self, index: int) -> None:
        self.read(index, str(self.dataset.names[index]), 0)


def inspect_counts(
    open_split: Callable[[str], Dataset], spec: str, progress: Callable[[int, int], None] | None
) -> CountingInspection:
    examined = [CountingExamination(split, open_split(split)) for split in ("train", "val")]
    take_all(examined, progress)
    splits = [SplitInspection(**one.basics()) for one in examined]
    harmful = tuple(f"{each.name} cannot be read." for split in splits for each in split.broken)
    counts = {one.split: (len(one.dataset), sum(one.dataset.counts)) for one in examined}
    return CountingInspection(spec=spec, splits=splits, harmful=harmful, counts=counts)
