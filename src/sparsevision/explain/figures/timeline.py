"""When tokens look: the tubes of all tokens over the time of a clip, and the times of their points."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sparsevision.drawing.palette import token_colours

from ..clip import ClipFrames, Floats, TimedStage
from ..explanation import Explanation
from ..kinds import FigureKind
from ..overlays import FAINT, INK
from ..sheet import TEXT_WIDTH, Sheet

_ROW = 0.16  # of a row's width


def timeline_figure(explanation: Explanation, *, width: float = TEXT_WIDTH) -> Figure:
    """Draws a row for each stage: a line from the beginning to the end of each token's tube, and a dot for each point.

    Tokens stand from top to bottom in the order in which their tubes begin at first. `width` in inches.
    """
    clip, stages = explanation.clip, explanation.timed_stages
    assert clip is not None
    heights = [_ROW] * len(stages)
    remark = f"{len(clip.images)} frames from {clip.begin:.2f} to {clip.end:.2f} s; lines: tubes, dots: points"
    sheet = Sheet(width, [""], heights, heading=explanation.answer(60), remark=remark)
    order = np.argsort(stages[0].spans[:, 0], kind="stable")
    colours = token_colours(len(order))
    for row, stage in enumerate(stages):
        sheet.label_row(row, stage.title)
        axes = sheet.panel(row, 0)
        _draw(axes, stage, order, colours, clip)
        if row:
            axes.set_xticks([])
        else:
            axes.xaxis.tick_top()
            axes.tick_params(axis="x", length=2, width=0.4, labelsize=5.5, colors=INK, pad=1.5)
            axes.xaxis.set_major_formatter("{x:g} s")
    return sheet.figure


def _draw(axes: Axes, stage: TimedStage, order: NDArray[np.int64], colours: Floats, clip: ClipFrames) -> None:
    places = np.arange(len(order))
    for time in clip.times:
        axes.axvline(time, color="#e6e6e6", linewidth=0.4, zorder=0)
    ends: Any = np.stack([stage.spans[order], np.repeat(places[:, None], 2, 1)], axis=-1)
    axes.add_collection(LineCollection(ends, colors=colours[order], linewidths=0.35, alpha=0.6))
    times = stage.times[order]
    colour = np.repeat(colours[order], times.shape[1], 0)
    axes.scatter(times.ravel(), np.repeat(places, times.shape[1]), s=0.6, c=colour, linewidths=0)
    margin = 0.15 * (clip.end - clip.begin)
    axes.set(xlim=(clip.begin - margin, clip.end + margin), ylim=(len(order), -1), yticks=[])
    axes.spines[:].set_color(FAINT)
    axes.spines[:].set_linewidth(0.3)


FIGURE = FigureKind(
    name="timeline", description="the tubes and points of all tokens over time, stage by stage",
    needs=frozenset({"timed_points", "timed_regions", "clip"}), draw=timeline_figure,
)  # fmt: skip
