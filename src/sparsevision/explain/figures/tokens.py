"""The tokens that respond most to a class, followed through the stages (Figure 6 of the SparseFormer paper)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from sparsevision.drawing.palette import token_colours
from sparsevision.types import Control, TextOption

from ..explanation import Explanation, scored
from ..kinds import FigureKind, NothingToDrawError
from ..overlays import FAINT, draw_image, draw_points, draw_regions, draw_spotlight, write
from ..sheet import TEXT_WIDTH, Sheet, sheet_of
from .stages import dot

TOP_TOKENS = Control("top_tokens", 5, 1, 64, "number of tokens to follow", whole=True)
LABEL = TextOption("label", None, "class that the tokens respond to; the best one if omitted")


def tokens_figure(
    explanation: Explanation, label: str | None = None, *, top_tokens: int = 5, width: float = TEXT_WIDTH
) -> Figure:
    """Draws a row for each of the tokens that respond most to a class.

    A token's response is the logit that the classifier gives to this token alone. `label` is the predicted class if
    None, and NothingToDrawError is raised where there is none; `width` in inches.
    """
    label = label or next(iter(scored(explanation.result)[0]), None)
    if label is None:
        raise NothingToDrawError("The model gives an embedding and no classes that tokens respond to: omit the tokens.")
    stages, colours = explanation.stages, token_colours(explanation.num_tokens)
    response, tokens = explanation.response(label), explanation.responding(label, top_tokens)
    sheet, _ = sheet_of(
        explanation, ["Input", *(stage.title for stage in stages)], ["Together"] + [""] * len(tokens), width=width,
        heading=f"Tokens that respond most to “{label}”", remark=f"predicted: {explanation.answer()}",
    )  # fmt: skip
    for column, stage in enumerate(stages, start=1):
        panel = sheet.panel(0, column)
        draw_image(panel, explanation)
        draw_points(panel, stage, colours, tokens=tokens, diameter=1.3 * dot(sheet))
        draw_regions(panel, stage, colours, tokens=tokens, line=0.7)
        for row, token in enumerate(tokens, start=1):
            panel = sheet.panel(row, column)
            draw_spotlight(panel, explanation, None if stage.regions is None else stage.regions[token])
            draw_regions(panel, stage, colours, tokens=[token], line=0.9)
            draw_points(panel, stage, colours, tokens=[token], diameter=1.6 * dot(sheet))
    for row, token in enumerate(tokens, start=1):
        _token_card(sheet, row, token, float(response[token]), colours[token])
    return sheet.figure


def _token_card(sheet: Sheet, row: int, token: int, response: float, colour: np.ndarray) -> None:
    """Names a row's token in its colour, beside the label's place."""
    cell, middle = sheet.blank(row, 0), sheet.heights[row] / 2
    cell.scatter([0.1], [middle - 0.06], s=42, color=[colour], marker="s", linewidths=0)
    write(cell, 0.22, middle - 0.06, f"Token {token}", va="center", fontsize=7.0)
    write(cell, 0.22, middle + 0.06, f"logit {response:+.1f}", va="center", color=FAINT)


FIGURE = FigureKind(
    name="tokens", description="the tokens that respond most to a class, stage by stage",
    needs=frozenset({"points", "response", "scores"}), draw=tokens_figure, options=(LABEL, TOP_TOKENS),
)  # fmt: skip
