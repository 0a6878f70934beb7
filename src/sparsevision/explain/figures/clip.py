"""Frames of a clip with the points that were read from them, stage by stage."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ..clip import drawn_frame
from ..explanation import Explanation, reduced
from ..kinds import FigureKind
from ..overlays import dimmed
from ..sheet import TEXT_WIDTH, Sheet, panel_ratio

_COLUMNS = 8
_PIXELS = 240


def clip_figure(explanation: Explanation, *, width: float = TEXT_WIDTH) -> Figure:
    """Draws frames at even distances, and below them what each stage reads there; `width` in inches."""
    clip, stages = explanation.clip, explanation.timed_stages
    assert clip is not None
    chosen = clip.picked(_COLUMNS)
    rows = ["Frame", *(stage.title for stage in stages)]
    remark = "{} tokens × {} points × {} stages".format(*stages[0].points.shape[:2], len(stages))
    titles = [f"{clip.times[number]:.2f} s" for number in chosen]
    sheet = Sheet(width, titles, [panel_ratio(explanation)] * len(rows), heading=explanation.answer(), remark=remark)
    for row, label in enumerate(rows):
        sheet.label_row(row, label)
        for column, number in enumerate(chosen):
            image = reduced(clip.images[number], _PIXELS)
            if row:
                dark = Image.fromarray(dimmed(image, saturation=0.0))
                image = drawn_frame(dark, explanation.size, stages[row - 1], clip.times[number], clip.step)
            axes = sheet.panel(row, column)
            axes.imshow(np.asarray(image), interpolation="antialiased", aspect="auto")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
    return sheet.figure


FIGURE = FigureKind(
    name="clip", description="frames with the points that were read from them, stage by stage",
    needs=frozenset({"timed_points", "timed_regions", "clip"}), draw=clip_figure,
)  # fmt: skip
