"""Faults of a data set with masks: broken images and masks, copies in several splits, classes that are absent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsevision.data.dataset import Dataset
from sparsevision.data.inspection import (
    Examination,
    Inspection,
    SplitInspection,
    copies,
    examine_splits,
    leaks,
    listed,
)
from sparsevision.data.masks import IGNORED
from sparsevision.types import Table

_MUCH_VOID = 0.5


@dataclass(frozen=True, kw_only=True)
class MasksSplit(SplitInspection):
    """One split: the share of the pixels of each class, in how many images it occurs, and the share that is void."""

    shares: dict[str, float]
    occurrences: dict[str, int]
    void: float
    empty: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MasksInspection(Inspection):
    """A data set with masks."""

    splits: Sequence[MasksSplit] = ()

    def tables(self) -> list[Table]:
        """Returns a row for each split, and one for each class."""
        columns = ("split", "images", "short side", "long side", "broken", "void")
        rows = tuple(
            (one.split, str(one.images), *one.side_cells, str(len(one.broken)), f"{one.void:.1%}")
            for one in self.splits
        )
        heading = f"Data set {self.spec}, {len(self.classes)} classes; sides in pixels: least–most (median)"
        headings = ("id", "class", *(f"{one.split}: pixels (images)" for one in self.splits))
        classes = tuple(
            (
                str(place),
                name,
                *(f"{one.shares.get(name, 0):.2%} ({one.occurrences.get(name, 0)})" for one in self.splits),
            )
            for place, name in enumerate(self.classes)
        )
        return [Table(heading=heading, columns=columns, rows=rows), Table(columns=headings, rows=classes)]


def inspect_masks(
    open_split: Callable[[str], Dataset], splits_of: Callable[[], Sequence[str]],
    check: Callable[[str, Dataset, Dataset], None], spec: str,
    progress: Callable[[int, int], None] | None = None,
) -> MasksInspection:  # fmt: skip
    """Decodes every image and mask of every split once and reports faults; `progress(done, total)` is called."""
    examined = examine_splits(_MasksExamination, open_split, splits_of, progress)
    if not examined.splits:
        return MasksInspection(spec=spec, harmful=tuple(examined.refused))
    leaked = copies(examined.seen, "split")
    splits = [one.report() for one in examined.splits]
    classes = examined.splits[0].dataset.classes
    harmful = examined.refusals(check, spec)
    for split in splits:
        harmful += listed([each.reason for each in split.broken], f"of {split.split} cannot be used")
        if absent := [name for name in classes if not split.occurrences.get(name)]:
            harmful += listed(absent, f"that no image of {split.split} shows", "class", "classes")
    harmful += leaks(leaked)
    notes = examined.notes()
    for split in splits:
        notes += listed(split.empty, f"of {split.split} without a pixel that counts")
        if split.void > _MUCH_VOID:
            notes.append(f"{split.void:.0%} of the pixels of {split.split} are void, and neither taught nor scored.")
    return MasksInspection(
        spec=spec, classes=classes, splits=splits, leaked=leaked, harmful=tuple(harmful), notes=tuple(notes)
    )


class _MasksExamination(Examination):
    """Examines the images and masks of one split."""

    def __init__(self, split: str, dataset: Any) -> None:
        super().__init__(split, dataset)
        self.pixels = np.zeros(IGNORED + 1, dtype=np.int64)
        self.images = np.zeros(IGNORED + 1, dtype=np.int64)
        self.empty: list[str] = []

    def take(self, index: int) -> None:
        """Reads one image with its mask, and counts the mask's pixels."""
        name = str(self.dataset.names[index])
        if (record := self.read(index, f"{self.split}: {name}", 0)) is None:
            return
        counts = np.bincount(record.target.ravel(), minlength=IGNORED + 1)
        self.pixels += counts
        self.images += counts > 0
        if not counts[:IGNORED].any():
            self.empty.append(name)

    def report(self) -> MasksSplit:
        """Sums up."""
        classes, counted, total = self.dataset.classes, self.pixels[:IGNORED].sum(), self.pixels.sum()
        shares = self.pixels / max(int(counted), 1)
        return MasksSplit(
            **self.basics(), shares={name: float(shares[place]) for place, name in enumerate(classes)},
            occurrences={name: int(self.images[place]) for place, name in enumerate(classes)},
            void=float(self.pixels[IGNORED] / max(int(total), 1)), empty=tuple(self.empty),
        )  # fmt: skip
