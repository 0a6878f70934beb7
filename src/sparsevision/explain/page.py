"""The page of a classifier, on which a person steps through the stages and follows tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsevision.drawing.palette import hexadecimal, token_colours
from sparsevision.errors import ConfigError

from .density import DEFAULT_RADIUS
from .look import Look
from .page_writing import TITLE, packed, packed_classes, picture_content, write_page


def save_page(
    looks: Sequence[Look], path: Path | str, *, title: str = TITLE, model: str = "", radius: float = DEFAULT_RADIUS
) -> Path:
    """Writes a self-contained page about one or more pictures.

    The page makes no request, runs under a content security policy that allows only its own script, and shows names
    and labels as text whatever they hold. Responses of tokens are offered for the predicted classes of each picture.

    Args:
        looks: pictures with their results and traces.
        path: of the HTML file.
        title: the page's heading.
        model: named under the heading.
        radius: of the density's top-hat kernel, as a fraction of the shorter side.

    Raises:
        ConfigError: there is no picture, or one has no trace of points.
    """
    if not looks:
        raise ConfigError("A page needs at least one picture; received none.")
    most = max(look.num_tokens for look in looks)
    content = {
        "model": model,
        "radius": radius,
        "colours": hexadecimal(token_colours(most)),
        "pictures": [_picture(look) for look in looks],
    }
    return write_page(path, "tokens", title, content)


def _picture(look: Look) -> dict[str, Any]:
    width, height = look.size
    result = look.result
    shown = [label for label in result.labels if label in look.classes] if look.trace.response else []
    return picture_content(look) | {
        "tokens": look.num_tokens,
        "per_token": look.stages[0].points.shape[1],
        "classes": packed_classes(look),
        "responses": [[label, [round(float(value), 2) for value in look.response(label)]] for label in shown],
        "stages": [
            {
                "title": stage.title,
                "points": packed(stage.points.reshape(-1, 2), width, height),
                "regions": None if stage.regions is None else packed(stage.regions.reshape(-1, 2), width, height),
            }
            for stage in look.stages
        ],
    }
