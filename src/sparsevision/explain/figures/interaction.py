"""The cells behind the tokens that each visual token attends to (Section 4.4 of the Visual Transformers paper)."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..explanation import Explanation
from ..kinds import FigureKind
from ..sheet import TEXT_WIDTH
from .attention import maps_figure


def interaction_figure(explanation: Explanation, *, width: float = TEXT_WIDTH) -> Figure:
    """Draws, for each token, where those tokens were read that it attends to."""
    maps = [module.relative("interaction") for module in explanation.modules]
    return maps_figure(explanation, maps, remark="Where the tokens were read that each attends to", width=width)


FIGURE = FigureKind(
    name="interaction", description="the cells behind the tokens that each token attends to",
    needs=frozenset({"token_maps.interaction"}), draw=interaction_figure,
)  # fmt: skip
