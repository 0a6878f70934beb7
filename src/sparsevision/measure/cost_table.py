"""Published tables of costs beside this package's own counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import torch

from sparsevision.factory import create_model
from sparsevision.measure.operations import count_macs
from sparsevision.models.published import CostRow, Figure, OperationCount, PublishedCosts
from sparsevision.models.registry import FAMILIES


@dataclass(frozen=True, kw_only=True)
class CountedRow:
    """A published row with its figures counted on this package's model."""

    row: CostRow
    figures: Sequence[Figure]

    @property
    def agrees(self) -> bool:
        """Whether every compared figure is within its tolerance."""
        return all(figure.agrees for figure in self.figures)

    def to_dict(self) -> dict[str, Any]:
        """Returns the row as plain values for JSON."""
        figures = {one.name: {"stated": one.stated, "counted": one.counted} for one in self.figures}
        return {**asdict(self.row), "figures": figures, "agrees": self.agrees}


@dataclass(frozen=True, kw_only=True)
class CostTable:
    """One family's table, ready to be shown or written."""

    family: str
    title: str
    counted: Sequence[CountedRow]
    note: str = ""

    @property
    def agrees(self) -> bool:
        """Whether every row agrees."""
        return all(one.agrees for one in self.counted)

    @property
    def columns(self) -> tuple[str, ...]:
        """Two columns a figure, stated and counted."""
        pairs = [(figure.name, "counted") for figure in self.counted[0].figures]
        return ("row", "model", "size", *(heading for pair in pairs for heading in pair), "agrees", "remark")

    def cells(self) -> list[tuple[str, ...]]:
        """Returns the texts of every row, in the order of `columns`."""
        return [
            (
                *(one.row.name, one.row.model, "x".join(map(str, one.row.size))),
                *(text for figure in one.figures for text in _texts(figure)),
                *("yes" if one.agrees else "NO", one.row.remark),
            )
            for one in self.counted
        ]

    def summary(self) -> str:
        """States how many rows agree and how far the farthest is off."""
        agreeing = sum(one.agrees for one in self.counted)
        farthest = max((figure.difference for one in self.counted for figure in one.figures), default=0.0)
        total = len(self.counted)
        return f"{agreeing} of {total} rows agree (the farthest is {farthest:.2%} off). {self.note}".rstrip()


def cost_tables() -> Iterator[CostTable]:
    """Counts the published rows of every family that has some."""
    for family in FAMILIES.values():
        if family.published is not None:
            yield count_rows(import_module(family.published).COSTS, family.name)


def count_rows(costs: PublishedCosts, family: str = "") -> CostTable:
    """Builds every row's model on the meta device and counts it; nothing is computed, so all rows take seconds."""
    counted: list[CountedRow] = []
    counts: dict[tuple[Any, tuple[int, ...]], OperationCount] = {}
    for row in costs.rows:
        with torch.device("meta"):
            model: Any = create_model(row.model, **row.config)
        # Tables repeat the ordinary model under other names.
        key = (model.config, row.size)
        if key not in counts:
            counts[key] = count_macs(model, (3, *row.size))
        counted.append(CountedRow(row=row, figures=costs.figures(row, model, counts[key])))
    return CostTable(family=family, title=costs.title, counted=counted, note=costs.note)


def _texts(figure: Figure) -> tuple[str, str]:
    stated = "" if figure.stated is None else f"{figure.stated:,.{figure.digits}f}"
    return stated, f"{figure.counted:,.{figure.digits}f}"
