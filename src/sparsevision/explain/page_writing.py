"""What every page is made of: one HTML file that loads nothing, with its script, style and data inside."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .drawing import DENSITY_GAMMA, DENSITY_MAP, dimming
from .look import Floats, Look, reduced

TITLE = "Where the model looked"
_LONGEST = 960  # pixels of an embedded picture
_THUMBNAIL = 224
_UNIT = 8192  # coordinates are sent as 16-bit integers in this fraction of the picture: ±4 pictures, to 1/8192


def write_page(path: Path | str, kind: str, title: str, content: Mapping[str, Any]) -> Path:
    """Writes the page of a kind ("tokens", "objects"), whose script finds `content` as data.

    The page makes no request and runs under a content security policy that allows only its own script.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_rendered(kind, title, content), encoding="utf-8")
    return path


def _rendered(kind: str, title: str, content: Mapping[str, Any]) -> str:
    style, script = _part("page.css") + _part(f"{kind}.css"), _part("shared.js") + _part(f"{kind}.js")
    shared = {
        "gamma": DENSITY_GAMMA,
        "unit": _UNIT,
        "scale": (255 * DENSITY_MAP(np.linspace(0, 1, 128))[:, :3]).round().astype(int).tolist(),
    }
    values = {
        "title": html.escape(title),
        "style": style,
        "script": script,
        "style_hash": _source_hash(style),
        "script_hash": _source_hash(script),
        "main": _part(f"{kind}.html"),
        # No "<" can close the script element or open a comment in it.
        "data": json.dumps(shared | dict(content), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], _part("page.html"))


def picture_content(look: Look) -> dict[str, Any]:
    """Returns what a page holds of the picture itself."""
    width, height = look.size
    return {
        "name": PurePath(look.result.name).name,  # pages are passed on; folders are nobody else's business
        "width": width,
        "height": height,
        "dimming": round(dimming(look.preview), 2),
        "box": [round(value, 2) for value in look.geometry.box],
        "image": _data_uri(reduced(look.picture, _LONGEST), quality=85),
        "thumbnail": _data_uri(reduced(look.picture, _THUMBNAIL), quality=80),
    }


def packed_classes(look: Look) -> list[list[str | float]]:
    """Returns a classifier's labels with their scores."""
    return [[label, round(score, 4)] for label, score in zip(look.result.labels, look.result.scores, strict=True)]


def packed(xy: Floats, width: int, height: int) -> str:
    """Packs (N, 2) pixels of a picture of a size as coordinates."""
    units = np.nan_to_num(xy / (width, height)) * _UNIT
    return as_text(units.round().clip(-32768, 32767).astype("<i2"))


def as_text(values: NDArray[np.generic]) -> str:
    """Writes an array's bytes as text."""
    return base64.b64encode(values.tobytes()).decode("ascii")


def _data_uri(picture: Image.Image, quality: int) -> str:
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(written.getvalue()).decode("ascii")


def _part(name: str) -> str:
    return resources.files(__package__).joinpath("page_parts", name).read_text(encoding="utf-8")


def _source_hash(text: str) -> str:
    """The digest by which a content security policy names an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
