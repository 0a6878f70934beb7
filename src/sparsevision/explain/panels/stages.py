"""Sampling stages: points, RoIs and density of each, and tokens to follow through them."""

from __future__ import annotations

from typing import Any

from sparsevision.drawing.palette import hexadecimal, token_colours

from ..density import DEFAULT_RADIUS
from ..explanation import Explanation, scored
from ..figures.stages import RADIUS
from ..kinds import PanelKind
from ..page import packed


def _content(explanation: Explanation, *, radius: float = DEFAULT_RADIUS) -> dict[str, Any]:
    """Returns the stages, and the tokens' responses to the predicted classes."""
    (width, height), stages = explanation.size, explanation.stages
    responding = "scores" in explanation.has and explanation.trace.response
    labels = [label for label in scored(explanation.result)[0] if label in explanation.result.classes]
    return {
        "radius": radius,
        "tokens": explanation.num_tokens,
        "per_token": stages[0].points.shape[1],
        "colours": hexadecimal(token_colours(explanation.num_tokens)),
        "responses": [
            [label, [round(float(value), 2) for value in explanation.response(label)]]
            for label in (labels if responding else ())
        ],
        "stages": [
            {
                "title": stage.title,
                "points": packed(stage.points.reshape(-1, 2), width, height),
                "regions": None if stage.regions is None else packed(stage.regions.reshape(-1, 2), width, height),
            }
            for stage in stages
        ],
    }


PANEL = PanelKind(name="stages", needs=frozenset({"points"}), content=_content, options=(RADIUS,), view=True)
