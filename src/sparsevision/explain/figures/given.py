"""How much the cells of a map take from each token: where a segmenter's tokens go."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..explanation import Explanation
from ..kinds import FigureKind
from ..sheet import TEXT_WIDTH
from .attention import maps_figure


def given_figure(explanation: Explanation, *, width: float = TEXT_WIDTH) -> Figure:
    """Draws a panel for each token of each module, brighter where cells take more from it."""
    maps = [module.relative("given") for module in explanation.modules]
    return maps_figure(explanation, maps, remark="Where each token was given to", width=width)


FIGURE = FigureKind(
    name="given", description="the cells that each token was given to", needs=frozenset({"token_maps.given"}),
    draw=given_figure,
)  # fmt: skip
