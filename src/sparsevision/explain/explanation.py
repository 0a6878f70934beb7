"""An explanation: an image, the result for it, and the trace of what the model sampled and read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sparsevision.errors import ConfigError, UnknownNameError
from sparsevision.types import Choice, Control, Geometry, Points, Result, Trace

from .clip import ClipFrames, TimedStage
from .density import DEFAULT_RADIUS, density
from .levels import Levels, levels_of
from .token_maps import Module, modules_of

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SamplingStage:
    """One sampling stage: `points` (N, P, 2) and `regions` (N, 4) in pixels of the original image.

    `before` (N, 4) are the regions that the trace has just before this stage's.
    """

    name: str
    points: Floats
    regions: Floats | None = None
    before: Floats | None = None
    weight: Floats | None = None  # (N, P), where points do not count alike
    level: NDArray[np.int64] | None = None  # (N, P), the feature level each point reads

    @property
    def title(self) -> str:
        """The stage's name for people: 'focusing.2' becomes 'Focusing 2'."""
        return titled(self.name)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """An image (upright, RGB) and its result, which holds a trace.

    The image may be a reduced one; coordinates are pixels of the original that the result's geometry knows.

    Attributes:
        options: the controls and choices of the model, whose values in this run are its `settings`, by name.
        seconds: the time of the prediction, if it was measured.
        model: what predicted, for headings.
        clip: of a video, the frames that the model saw, of which the image is one.
        rerun: explains another image with the same model and settings.
    """

    image: Image.Image
    result: Result
    options: tuple[Control | Choice, ...] = ()
    settings: Mapping[str, float | str] = field(default_factory=dict)
    seconds: float | None = None
    model: str = ""
    clip: ClipFrames | None = None
    rerun: Callable[[Image.Image], Explanation] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        (width, height), (shown_width, shown_height) = self.size, self.image.size
        # Decoders that reduce an image round its sides up, each for itself.
        if abs(shown_width * height - shown_height * width) > width + height:
            raise ConfigError(
                f"The image of {self.result.name!r} has {shown_width} x {shown_height} pixels, but its result was "
                f"made from {width} x {height}; give the image that was predicted, upright."
            )

    @property
    def has(self) -> frozenset[str]:
        """The names that figures and panels need: kinds and roles in the trace, and what the result offers.

        "rerun" is among them where other images can be explained, "settings" where the model has options, and "clip"
        where there are the frames of a video.
        """
        trace = self.result.trace.has if self.result.trace else frozenset()
        own = {"rerun": self.rerun is not None, "settings": bool(self.settings), "clip": self.clip is not None}
        return trace | self.result.offers | {name for name, there in own.items() if there}

    @property
    def trace(self) -> Trace:
        """The trace of the result."""
        if self.result.trace is None:
            raise ConfigError(f"The result of {self.result.name!r} has no trace to draw; predict with trace=True.")
        return self.result.trace

    @property
    def geometry(self) -> Geometry:
        """The place of the view in the image; without one in the result, the view is the whole image."""
        width, height = self.image.size
        return self.result.geometry or Geometry((height, width), (0.0, 0.0, width, height))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the original image in pixels, the unit of all coordinates here."""
        height, width = self.geometry.original_size
        return width, height

    @cached_property
    def preview(self) -> Image.Image:
        """The image as RGB with at most 480 pixels a side, enough for a panel of a figure."""
        return reduced(self.image, 480)

    def laid(self, cells: NDArray[np.generic], size: tuple[int, int]) -> Floats:
        """Lays cells (H, W) that cover the view over the image in `size` (rows, columns) of pixels; 0 outside."""
        rows, columns = size
        width, height = self.size
        x0, y0, x1, y1 = self.geometry.box
        across = ((np.arange(columns) + 0.5) * width / columns - x0) / (x1 - x0)
        down = ((np.arange(rows) + 0.5) * height / rows - y0) / (y1 - y0)
        seen = ((down >= 0) & (down < 1))[:, None] & ((across >= 0) & (across < 1))
        row = np.clip(down * cells.shape[0], 0, cells.shape[0] - 1).astype(int)
        column = np.clip(across * cells.shape[1], 0, cells.shape[1] - 1).astype(int)
        return np.where(seen, cells[row[:, None], column], 0).astype(np.float64)

    def _pixels(self, fractions: Tensor) -> Floats:
        return np.asarray(self.geometry.to_original(fractions.double()).numpy(), dtype=np.float64)

    @cached_property
    def stages(self) -> tuple[SamplingStage, ...]:
        """The stages that sampled points, in the model's order."""
        if not self.trace.points:
            raise ConfigError(f"The trace of {self.result.name!r} holds no sampling points to draw.")
        return tuple(self._stage(name, points) for name, points in self.trace.points.items())

    def _stage(self, name: str, points: Points) -> SamplingStage:
        if points.xy.ndim != 3 or points.xy.shape[-1] != 2:
            shape = tuple(points.xy.shape)
            raise ConfigError(f"Stage {name!r} has points of shape {shape}; expected (tokens, points, 2).")
        order = list(self.trace.regions)
        place = order.index(name) if name in order else 0
        return SamplingStage(
            name=name, points=self._pixels(points.xy), regions=self._regions(name) if name in order else None,
            before=self._regions(order[place - 1]) if place else None,
            weight=None if points.weight is None else points.weight.double().numpy(),
            level=None if points.level is None else points.level.long().numpy(),
        )  # fmt: skip

    def _regions(self, name: str) -> Floats:
        return self._pixels(self.trace.regions[name].xyxy.reshape(-1, 2, 2)).reshape(-1, 4)

    @cached_property
    def timed_stages(self) -> tuple[TimedStage, ...]:
        """The stages that sampled points in space and time, in the model's order."""
        assert self.clip is not None
        seconds = self.clip.seconds
        found = []
        for name, points in self.trace.points.items():
            tubes = self.trace.regions[name].xyxy.double()
            corners = tubes[:, [0, 1, 3, 4]].reshape(-1, 2, 2)
            found.append(
                TimedStage(
                    name=name, points=self._pixels(points.xy[..., :2]), times=seconds(points.xy[..., 2].double()),
                    regions=self._pixels(corners).reshape(-1, 4), spans=np.sort(seconds(tubes[:, [2, 5]]), axis=1),
                )
            )  # fmt: skip
        return tuple(found)

    @cached_property
    def levels(self) -> Levels:
        """The feature levels, finest first, without padding."""
        return levels_of(self.trace, self.result.name)

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        """The modules that made tokens out of cells, in the model's order."""
        return modules_of(self.trace, self.result.name)

    @property
    def num_tokens(self) -> int:
        """The number of tokens that sample."""
        return len(self.stages[0].points)

    def density(
        self, stage: SamplingStage, size: tuple[int, int], radius: float = DEFAULT_RADIUS
    ) -> NDArray[np.float32]:
        """Maps how densely a stage sampled the original image; see `density.density`."""
        return density(stage.points / self.size, size, radius=radius, weight=stage.weight)

    def response(self, label: str) -> Floats:
        """Returns (N,): each token's own logit for a class."""
        if not self.trace.response:
            raise ConfigError(f"The trace of {self.result.name!r} holds no responses of tokens to classes.")
        logits = list(self.trace.response.values())[-1].logits
        if label not in self.result.classes:
            raise UnknownNameError("class", label, self.result.classes)
        # A class token comes before the tokens that sample.
        own = logits[-self.num_tokens :, list(self.result.classes).index(label)]
        return np.asarray(own.double().numpy(), dtype=np.float64)

    def responding(self, label: str, count: int) -> list[int]:
        """Lists the tokens that respond most to a class, strongest first."""
        order = np.argsort(-self.response(label), kind="stable")
        return [int(token) for token in order[:count]]

    @cached_property
    def queries(self) -> tuple[int, ...]:
        """The query or token that found each object: the one whose last region is the object's box."""
        if not self.trace.regions:
            raise ConfigError(f"The trace of {self.result.name!r} holds no boxes; predict with trace=True.")
        regions = self._regions(list(self.trace.regions)[-1])
        return tuple(int(np.abs(regions - box).sum(-1).argmin()) for box in boxes_of(self.result))

    @property
    def setting(self) -> str:
        """Values of the controls, and of choices other than the model's own: 'keep ratio 0.3, selection random'."""
        values, controls = self.settings, [each for each in self.options if isinstance(each, Control)]
        others = [each for each in self.options if each not in controls and values[each.name] != each.default]
        return ", ".join(f"{spoken(each.name)} {written(values[each.name])}" for each in (*controls, *others))

    def answer(self, letters: int = 80) -> str:
        """Returns the result in so many letters: the best class with its score, or the result's summary."""
        if "scores" not in self.result.offers:
            return shortened(self.result.summary(), letters)
        labels, scores = scored(self.result)
        return f"{shortened(labels[0], letters - 5)} {scores[0]:.2f}" if labels else "no class"


def scored(result: Result) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Returns the labels and scores of a result that offers "scores" or "objects"."""
    return getattr(result, "labels", ()), getattr(result, "scores", ())


def boxes_of(result: Result) -> tuple[tuple[float, float, float, float], ...]:
    """Returns the boxes of a result that offers "objects"."""
    return getattr(result, "boxes", ())


def titled(name: str) -> str:
    """Returns a stage's name for people: 'focusing.2' becomes 'Focusing 2'."""
    return spoken(name).capitalize()


def spoken(name: str) -> str:
    """Returns a name in words: 'keep_ratio' becomes 'keep ratio'."""
    return name.replace(".", " ").replace("_", " ")


def written(value: float | str) -> str:
    """Returns a setting's value as text."""
    return value if isinstance(value, str) else f"{value:g}"


def shortened(text: str, most: int) -> str:
    """Cuts text to so many letters."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def reduced(image: Image.Image, longest: int) -> Image.Image:
    """Reduces an image to at most `longest` pixels a side, in RGB."""
    small = image.convert("RGB")
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return small
