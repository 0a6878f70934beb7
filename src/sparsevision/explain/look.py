"""A picture beside what a model said of it and where it looked, in pixels of the picture itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sparsevision.errors import ConfigError, UnknownNameError
from sparsevision.types import Geometry, Points, Result, Trace

from .density import DEFAULT_RADIUS, density

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stage:
    """One sampling stage: `points` (N, P, 2) and `regions` (N, 4) in pixels of the original picture."""

    name: str
    points: Floats
    regions: Floats | None = None
    weight: Floats | None = None  # (N, P), where points do not count alike
    level: NDArray[np.int64] | None = None  # (N, P), the feature level each point reads

    @property
    def title(self) -> str:
        """The stage's name for people: 'focusing.2' becomes 'Focusing 2'."""
        return titled(self.name)


@dataclass(frozen=True)
class Look:
    """What is drawn: a picture (upright, RGB) and its result, which must hold a trace with points.

    The picture may be a reduced one; coordinates are pixels of the original that the result's geometry knows.
    `classes` names the columns of the trace's response, in the model's order; drawing the tokens of a class needs it.
    """

    picture: Image.Image
    result: Result
    classes: Sequence[str] = ()

    def __post_init__(self) -> None:
        (width, height), (shown_width, shown_height) = self.size, self.picture.size
        # Decoders that reduce a picture round its sides up, each for itself.
        if abs(shown_width * height - shown_height * width) > width + height:
            raise ConfigError(
                f"The picture of {self.result.name!r} has {shown_width} x {shown_height} pixels, but its result was "
                f"made from {width} x {height}; give the picture that was predicted, upright."
            )

    @property
    def trace(self) -> Trace:
        """The one-picture trace of the result."""
        if self.result.trace is None:
            raise ConfigError(f"The result of {self.result.name!r} has no trace to draw; predict with trace=True.")
        return self.result.trace

    @property
    def geometry(self) -> Geometry:
        """Where the view lies in the picture; without one in the result, the view is the whole picture."""
        width, height = self.picture.size
        return self.result.geometry or Geometry((height, width), (height, width), (0.0, 0.0, width, height))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the original picture in pixels, the unit of all coordinates here."""
        height, width = self.geometry.original_size
        return width, height

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that sampled points, in the model's order."""
        if not self.trace.points:
            raise ConfigError(f"The trace of {self.result.name!r} holds no sampling points to draw.")
        return tuple(self._stage(name, points) for name, points in self.trace.points.items())

    def _stage(self, name: str, points: Points) -> Stage:
        if points.xy.ndim != 3 or points.xy.shape[-1] != 2:
            shape = tuple(points.xy.shape)
            raise ConfigError(f"Stage {name!r} has points of shape {shape}; expected (tokens, points, 2).")
        found = self.trace.regions.get(name)
        regions = None if found is None else self._pixels(found.xyxy.reshape(-1, 2, 2)).reshape(-1, 4)
        weight = None if points.weight is None else points.weight.double().numpy()
        level = None if points.level is None else points.level.long().numpy()
        return Stage(name, self._pixels(points.xy), regions, weight, level)

    def _pixels(self, fractions: Tensor) -> Floats:
        mapped = self.geometry.to_original(fractions.to(torch.float64))
        return np.asarray(mapped.numpy(), dtype=np.float64)

    def laid(self, cells: NDArray[np.generic], size: tuple[int, int]) -> Floats:
        """Lays cells (H, W) that cover the view over the picture in `size` (rows, columns) of pixels; 0 outside."""
        rows, columns = size
        width, height = self.size
        x0, y0, x1, y1 = self.geometry.box
        across = ((np.arange(columns) + 0.5) * width / columns - x0) / (x1 - x0)
        down = ((np.arange(rows) + 0.5) * height / rows - y0) / (y1 - y0)
        seen = ((down >= 0) & (down < 1))[:, None] & ((across >= 0) & (across < 1))
        row = np.clip(down * cells.shape[0], 0, cells.shape[0] - 1).astype(int)
        column = np.clip(across * cells.shape[1], 0, cells.shape[1] - 1).astype(int)
        return np.where(seen, cells[row[:, None], column], 0).astype(np.float64)

    @cached_property
    def preview(self) -> Image.Image:
        """The picture as RGB at no more than 480 pixels a side: panels are small, photographs are not."""
        return reduced(self.picture, 480)

    @property
    def num_tokens(self) -> int:
        """How many tokens sample."""
        return len(self.stages[0].points)

    def density(self, stage: Stage, size: tuple[int, int], radius: float = DEFAULT_RADIUS) -> NDArray[np.float32]:
        """Maps how densely a stage sampled the original picture; see `density.density`."""
        return density(stage.points / self.size, size, radius=radius, weight=stage.weight)

    def response(self, label: str) -> Floats:
        """Returns (N,): each token's own logit for a class."""
        if not self.trace.response:
            raise ConfigError(f"The trace of {self.result.name!r} does not say how tokens respond to classes.")
        logits = list(self.trace.response.values())[-1].logits
        if label not in self.classes:
            raise UnknownNameError("class", label, self.classes)
        # A class token comes before the tokens that sample.
        own = logits[-self.num_tokens :, list(self.classes).index(label)]
        return np.asarray(own.double().numpy(), dtype=np.float64)

    def responding(self, label: str, count: int) -> list[int]:
        """Lists the tokens that respond most to a class, strongest first."""
        order = np.argsort(-self.response(label), kind="stable")
        return [int(token) for token in order[:count]]


def titled(name: str) -> str:
    """A stage's name for people: 'focusing.2' becomes 'Focusing 2'."""
    return name.replace(".", " ").replace("_", " ").capitalize()


def reduced(picture: Image.Image, longest: int) -> Image.Image:
    """Makes a picture no larger than `longest` pixels a side, in RGB."""
    small = picture.convert("RGB")
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return small
