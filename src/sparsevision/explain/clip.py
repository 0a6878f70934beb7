"""What a model of videos saw: the frames of a clip, and the points and tubes of each stage in space and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sparsevision.drawing.palette import token_colours

Floats = NDArray[np.float64]
_LEAST_MS, _MOST_MS = 80, 1000  # of a frame in an animation


@dataclass(frozen=True, kw_only=True)
class ClipFrames:
    """Frames of a clip with their `times` in seconds of the video; it lasts from `begin` to `end`."""

    images: tuple[Image.Image, ...]
    times: tuple[float, ...]
    begin: float
    end: float

    def seconds(self, fractions: Any) -> Floats:
        """Turns fractions of the clip into seconds of the video."""
        return np.asarray(self.begin + np.asarray(fractions, dtype=np.float64) * (self.end - self.begin))

    @property
    def step(self) -> float:
        """Seconds between two frames."""
        return (self.end - self.begin) / len(self.images)

    @property
    def milliseconds(self) -> int:
        """How long an animation shows a frame: as long as the video, but so that one can see it and need not wait."""
        return min(max(round(1000 * self.step), _LEAST_MS), _MOST_MS)

    def picked(self, count: int) -> list[int]:
        """Chooses frames at even distances."""
        last = len(self.images) - 1
        return sorted({round(place) for place in np.linspace(0, last, min(count, last + 1))})


@dataclass(frozen=True, kw_only=True)
class TimedStage:
    """One sampling stage of a clip: `points` (N, P, 2) in pixels at `times` (N, P) in seconds of the video.

    Its tubes are `regions` (N, 4) in pixels during `spans` (N, 2).
    """

    name: str
    points: Floats
    times: Floats
    regions: Floats
    spans: Floats

    @property
    def title(self) -> str:
        """The stage's name for people: 'focusing.2' becomes 'Focusing 2'."""
        return self.name.replace(".", " ").replace("_", " ").capitalize()

    def shares(self, time: float, step: float) -> Floats:
        """Returns (N, P): how much of each point is read from the frame at a time; frames are `step` seconds apart."""
        return np.asarray(np.clip(1 - np.abs(self.times - time) / step, 0, 1))


def drawn_frame(image: Image.Image, whole: tuple[int, int], stage: TimedStage, time: float, step: float) -> Image.Image:
    """Draws the points that are read from a frame, larger where more of it is.

    `whole` are the sides (width, height) of the video, `step` the seconds between two frames.
    """
    colours = (255 * token_colours(len(stage.points))).round().astype(int)
    over = 2  # drawn larger and reduced, which smooths the edges
    large = image.resize((image.width * over, image.height * over), Image.Resampling.NEAREST)
    draw, factor = ImageDraw.Draw(large), np.divide(large.size, whole)
    shares, most = stage.shares(time, step), over * max(1.4, max(image.size) / 200)
    for token, point in zip(*np.nonzero(shares), strict=True):
        x, y = stage.points[token, point] * factor
        radius = most * np.sqrt(shares[token, point])
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tuple(colours[token].tolist()))
    return large.reduce(over)
