"""A picture beside what a detector found in it: what it updated, what its decoder read, and where each query looked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparsevision.errors import ConfigError
from sparsevision.types import Heat, Kept, Result

from .look import Floats, Look

Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Level:
    """One feature level: cells (H, W) that lie over the view, which of them were updated, and how much each was read.

    `attention` is the decoder's (DAM); `saliency` is what the model expected of it, None where it chose nothing.
    """

    kept: Mask
    attention: Floats
    saliency: Floats | None

    @property
    def share(self) -> float:
        """Which share of the level's tokens was updated."""
        return float(self.kept.mean())


@dataclass(frozen=True)
class DetectionLook(Look):
    """What is drawn of a detector: a picture (upright, RGB) and its result, which must hold a whole trace.

    `settings` are the model's controls and choices in this run, and `seconds` is how long it took, if that is known.
    """

    result: Result
    settings: Mapping[str, float | str] = field(default_factory=dict)
    seconds: float | None = None

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The feature levels, finest first, without padding."""
        heat, kept = self.trace.heat, next(iter(self.trace.kept.values()), None)
        if "decoder" not in heat:
            raise ConfigError(
                f"The trace of {self.result.name!r} does not say what the decoder read; predict with trace=True."
            )
        attention = _maps(heat["decoder"])
        masks = [np.ones(level.shape, dtype=bool) for level in attention] if kept is None else _masks(kept)
        saliency = _maps(heat["scorer"]) if "scorer" in heat else [None] * len(attention)
        return tuple(map(Level, masks, attention, saliency))

    @property
    def chooses(self) -> bool:
        """Whether the model chose tokens to update, rather than updating all."""
        return bool(self.trace.kept)

    @property
    def kept(self) -> tuple[int, int]:
        """How many tokens were updated, and how many there are."""
        return sum(int(level.kept.sum()) for level in self.levels), sum(level.kept.size for level in self.levels)

    @property
    def captured(self) -> float:
        """Which share of the decoder's attention falls on tokens that were updated."""
        total = sum(float(level.attention.sum()) for level in self.levels)
        return sum(float(level.attention[level.kept].sum()) for level in self.levels) / total if total else 0.0

    def read_of(self, level: Level) -> float:
        """Returns which share of the decoder's attention falls on a level."""
        total = sum(float(each.attention.sum()) for each in self.levels)
        return float(level.attention.sum()) / total if total else 0.0

    @cached_property
    def queries(self) -> tuple[int, ...]:
        """The query that found each object: the one whose last box is the object's."""
        boxes = self.stages[-1].regions
        if boxes is None:
            raise ConfigError(f"The trace of {self.result.name!r} holds no boxes; predict with trace=True.")
        return tuple(int(np.abs(boxes - box).sum(-1).argmin()) for box in self.result.boxes)

    @cached_property
    def proposals(self) -> Floats | None:
        """The boxes (N, 4) from which the decoder's first layer started, in pixels; None where these were points."""
        found = self.trace.regions.get("proposals")
        return None if found is None else self._pixels(found.xyxy.reshape(-1, 2, 2)).reshape(-1, 4)

    @property
    def found(self) -> str:
        """How many objects of each class were found: '12 RBC, 1 WBC'; classes come in the model's order."""
        counts = self.result.counts()
        order = dict.fromkeys((*self.classes, *counts))
        return ", ".join(f"{counts[label]} {label}" for label in order if label in counts) or "nothing"

    @property
    def setting(self) -> str:
        """The settings for people: 'keep ratio 0.3, selection random'; empty where the model has none."""
        told = {name: value if isinstance(value, str) else f"{value:g}" for name, value in self.settings.items()}
        return ", ".join(f"{spoken(name)} {value}" for name, value in told.items())


def spoken(name: str) -> str:
    """A control's name for people: 'keep_ratio' becomes 'keep ratio'."""
    return name.replace("_", " ")


def _maps(heat: Heat) -> list[Floats]:
    """Sums each level's maps of one picture to one, and cuts the padding off."""
    return [
        np.asarray(_valid(level.double().sum(0), heat.ratios, index).numpy()) for index, level in enumerate(heat.values)
    ]


def _masks(kept: Kept) -> list[Mask]:
    masks = []
    for index, (places, (height, width)) in enumerate(zip(kept.indices, kept.grids, strict=True)):
        mask = places.new_zeros(height * width).bool()
        mask[places[places >= 0]] = True
        masks.append(np.asarray(_valid(mask.view(height, width), kept.ratios, index).numpy()))
    return masks


def _valid(cells: Tensor, ratios: Tensor | None, level: int) -> Tensor:
    if ratios is None:
        return cells
    across, down = ratios[level].tolist()
    return cells[: max(1, round(cells.shape[0] * down)), : max(1, round(cells.shape[1] * across))]
