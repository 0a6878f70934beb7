"""Feature levels of a sparse model: the tokens that were updated, and how much each was expected to be and was read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparsevision.errors import ConfigError
from sparsevision.types import Kept, LevelMaps, Trace

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Level:
    """One feature level: cells (H, W) over the view, those of them that were updated, and how much each was read.

    `expected` is the model's prediction of `read`, None where the model made none.
    """

    kept: Mask
    read: Floats
    expected: Floats | None

    @property
    def share(self) -> float:
        """The share of the level's tokens that was updated."""
        return float(self.kept.mean())


@dataclass(frozen=True, kw_only=True)
class Levels:
    """All levels, finest first; `selects` where the model updated some tokens and not all, `reader` names the stage."""

    each: tuple[Level, ...]
    selects: bool
    reader: str

    @property
    def expected(self) -> list[Floats]:
        """The predictions of what would be read, of each level; empty where the model made none."""
        return [level.expected for level in self.each if level.expected is not None]

    @property
    def kept(self) -> int:
        """The number of tokens that were updated."""
        return sum(int(level.kept.sum()) for level in self.each)

    @property
    def total(self) -> int:
        """The number of tokens."""
        return sum(level.kept.size for level in self.each)

    @property
    def captured(self) -> float:
        """The share of all reading that falls on tokens that were updated."""
        return sum(float(level.read[level.kept].sum()) for level in self.each) / self._read

    def read_of(self, level: Level) -> float:
        """Returns the share of all reading that falls on a level."""
        return float(level.read.sum()) / self._read

    @property
    def _read(self) -> float:
        return sum(float(level.read.sum()) for level in self.each) or 1.0


def levels_of(trace: Trace, name: str) -> Levels:
    """Reads the levels from a trace; `name` is the image's, for messages."""
    by_role = {maps.role: (stage, maps) for stage, maps in trace.level_maps.items()}
    if "read" not in by_role:
        raise ConfigError(f"The trace of {name!r} holds no maps of how much was read; predict with trace=True.")
    reader, maps = by_role["read"]
    read = _maps(maps)
    kept = next(iter(trace.kept.values()), None)
    masks = [np.ones(level.shape, dtype=bool) for level in read] if kept is None else _masks(kept)
    expected = _maps(by_role["expected"][1]) if "expected" in by_role else [None] * len(read)
    each = [
        Level(kept=mask, read=values, expected=guess) for mask, values, guess in zip(masks, read, expected, strict=True)
    ]
    return Levels(each=tuple(each), selects=kept is not None, reader=reader)


def _maps(maps: LevelMaps) -> list[Floats]:
    return [np.asarray(_valid(level.double(), maps.ratios, index).numpy()) for index, level in enumerate(maps.values)]


def _masks(kept: Kept) -> list[Mask]:
    masks = []
    for index, (places, (height, width)) in enumerate(zip(kept.indices, kept.grids, strict=True)):
        mask = places.new_zeros(height * width).bool()
        mask[places[places >= 0]] = True
        masks.append(np.asarray(_valid(mask.view(height, width), kept.ratios, index).numpy()))
    return masks


def _valid(cells: Tensor, ratios: Tensor | None, level: int) -> Tensor:
    """Cuts the padding off."""
    if ratios is None:
        return cells
    across, down = ratios[level].tolist()
    return cells[: max(1, round(cells.shape[0] * down)), : max(1, round(cells.shape[1] * across))]
