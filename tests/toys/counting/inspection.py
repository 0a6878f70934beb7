"""Faults of a data set for counting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sparsevision.data.dataset import Dataset
from sparsevision.data.inspection import Examination, take_all
from sparsevision.types import Skipped, Table


@dataclass(frozen=True)
class CountingInspection:
    counts: dict[str, tuple[int, float]]
    broken: dict[str, tuple[Skipped, ...]]
    harmful: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def tables(self) -> list[Table]:
        rows = tuple((split, str(images), f"{objects:g}") for split, (images, objects) in self.counts.items())
        return [Table(columns=("split", "images", "objects"), rows=rows)]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class CountingExamination(Examination[Any]):
    def take(self, index: int) -> None:
        self.read(index, str(self.dataset.names[index]), 0)


def inspect_counts(open_split: Callable[[str], Dataset], progress: Callable[[int, int], None] | None) -> Any:
    examined = [CountingExamination(split, open_split(split)) for split in ("train", "val")]
    take_all(examined, progress)
    broken = {one.split: tuple(one.broken) for one in examined}
    harmful = [f"{each.name} cannot be read." for split in broken.values() for each in split]
    counts = {one.split: (len(one.dataset), sum(one.dataset.counts)) for one in examined}
    return CountingInspection(counts, broken, tuple(harmful))
