"""The result drawn over the image by itself, as boxes or labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..explanation import Explanation
from ..kinds import FigureKind
from ..overlays import show_pixels
from ..sheet import TEXT_WIDTH, Sheet, panel_ratio

_DRAWN_SIDE = 900  # short side in pixels at which boxes and their labels are drawn


def annotated_figure(explanation: Explanation, *, width: float = TEXT_WIDTH) -> Figure:
    """Draws the annotated image; objects are numbered, 1 being the best."""
    ratio = panel_ratio(explanation)
    width = min(width, 8.0 / ratio)  # a tall image would fill more than a page
    sheet = Sheet(width, [""], [ratio], heading=explanation.answer(), remark=explanation.setting, row_label=0.0)
    numbers: dict[str, Any] = {"numbers": True} if "objects" in explanation.has else {}
    drawn = explanation.result.annotate(explanation.image, least_side=_DRAWN_SIDE, **numbers)
    show_pixels(sheet.panel(0, 0), explanation, np.asarray(drawn), shade=False)
    return sheet.figure


FIGURE = FigureKind(
    name="annotated", description="the result over the image, objects with numbers", draw=annotated_figure
)
