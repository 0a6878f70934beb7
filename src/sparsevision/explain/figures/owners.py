"""The token that each cell takes most from: how a segmenter's tokens divide an image among themselves."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from sparsevision.drawing.palette import token_colours

from ..explanation import Explanation
from ..kinds import FigureKind
from ..overlays import dimmed, draw_regions, map_size, show_pixels
from ..sheet import TEXT_WIDTH, sheet_of

_OPACITY = 0.6


def owners_figure(explanation: Explanation, *, width: float = TEXT_WIDTH) -> Figure:
    """Draws a panel for each module, every cell in the colour of its token; and the tokens' last regions, if any."""
    modules, size = explanation.modules, map_size(explanation)
    last = explanation.stages[-1] if explanation.trace.points else None
    titles = ["Input", *(module.title for module in modules), *(["Regions"] if last else [])]
    sheet, _ = sheet_of(
        explanation, titles, [""], width=width, heading=explanation.answer(60),
        remark="The token that each cell takes most from",
    )  # fmt: skip
    grey = dimmed(explanation.preview.resize((size[1], size[0])), 1.4, 0.0)
    for column, module in enumerate(modules, start=1):
        colours = token_colours(len(module.any))
        owners = explanation.laid(module.most_given(), size).astype(int)
        mixed = (1 - _OPACITY) * grey + _OPACITY * 255 * colours[owners][..., :3]
        show_pixels(sheet.panel(0, column), explanation, mixed.clip(0, 255).astype(np.uint8))
    if last is not None:
        panel = sheet.panel(0, len(modules) + 1)
        show_pixels(panel, explanation, grey)
        draw_regions(panel, last, token_colours(explanation.num_tokens))
    return sheet.figure


FIGURE = FigureKind(
    name="owners", description="the token that each cell takes most from", needs=frozenset({"token_maps.given"}),
    draw=owners_figure,
)  # fmt: skip
