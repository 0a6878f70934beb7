"""One HTML file on which a person steps through the stages and follows tokens; it loads nothing and works offline."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image

from sparsevision.errors import ConfigError

from .density import DEFAULT_RADIUS
from .drawing import DENSITY_GAMMA, DENSITY_MAP, dimming
from .look import Floats, Look, reduced
from .palette import hexadecimal, token_colours

_LONGEST = 960  # pixels of an embedded picture
_THUMBNAIL = 224
_UNIT = 8192  # coordinates are sent as 16-bit integers in this fraction of the picture: ±4 pictures, to 1/8192
_TITLE = "Where the model looked"


def save_page(
    looks: Sequence[Look], path: Path | str, *, title: str = _TITLE, model: str = "", radius: float = DEFAULT_RADIUS
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
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_page(looks, title=title, model=model, radius=radius), encoding="utf-8")
    return path


def render_page(looks: Sequence[Look], *, title: str, model: str, radius: float) -> str:
    """Returns the page's HTML; see `save_page`."""
    style, script = _part("page.css"), _part("page.js")
    most = max(look.num_tokens for look in looks)
    content = {
        "model": model,
        "radius": radius,
        "gamma": DENSITY_GAMMA,
        "unit": _UNIT,
        "scale": (255 * DENSITY_MAP(np.linspace(0, 1, 128))[:, :3]).round().astype(int).tolist(),
        "colours": hexadecimal(token_colours(most)),
        "pictures": [_picture(look) for look in looks],
    }
    values = {
        "title": html.escape(title),
        "style": style,
        "script": script,
        "style_hash": _source_hash(style),
        "script_hash": _source_hash(script),
        # No "<" can close the script element or open a comment in it.
        "data": json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], _part("page.html"))


def _picture(look: Look) -> dict[str, Any]:
    width, height = look.size
    result = look.result
    shown = [label for label in result.labels if label in look.classes] if look.trace.response else []
    return {
        "name": PurePath(result.name).name,  # pages are passed on; folders are nobody else's business
        "width": width,
        "height": height,
        "dimming": round(dimming(look.preview), 2),
        "box": [round(value, 2) for value in look.geometry.box],
        "image": _data_uri(reduced(look.picture, _LONGEST), quality=85),
        "thumbnail": _data_uri(reduced(look.picture, _THUMBNAIL), quality=80),
        "tokens": look.num_tokens,
        "per_token": look.stages[0].points.shape[1],
        "classes": [[label, round(score, 4)] for label, score in zip(result.labels, result.scores, strict=True)],
        "responses": [[label, [round(float(value), 2) for value in look.response(label)]] for label in shown],
        "stages": [
            {
                "title": stage.title,
                "points": _packed(stage.points.reshape(-1, 2), width, height),
                "regions": None if stage.regions is None else _packed(stage.regions.reshape(-1, 2), width, height),
            }
            for stage in look.stages
        ],
    }


def _packed(xy: Floats, width: int, height: int) -> str:
    units = np.nan_to_num(xy / (width, height)) * _UNIT
    return base64.b64encode(units.round().clip(-32768, 32767).astype("<i2").tobytes()).decode("ascii")


def _data_uri(picture: Image.Image, quality: int) -> str:
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(written.getvalue()).decode("ascii")


def _part(name: str) -> str:
    return resources.files(__package__).joinpath("page_parts", name).read_text(encoding="utf-8")


def _source_hash(text: str) -> str:
    """The digest by which a content security policy names an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
