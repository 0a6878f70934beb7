"""The page: one HTML file that loads nothing, made of the panels whose needs an explanation meets."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sparsevision.errors import ConfigError
from sparsevision.files import replacing

from .control_sweep import ControlSweep
from .explanation import Explanation, Floats, reduced, scored, spoken
from .kinds import PanelKind
from .overlays import DENSITY_GAMMA, DENSITY_MAP, dimming
from .registry import panels_for

TITLE = "Where the model looked"
_LONGEST = 960  # pixels of an embedded image
_THUMBNAIL = 224
_UNIT = 8192  # coordinates are sent as 16-bit integers in this fraction of the image: ±4 images, to 1/8192
_SHELL = "sparsevision.explain.panels"


def save_page(
    explained: Sequence[Explanation | ControlSweep], path: Path | str, *, title: str = TITLE,
    options: Mapping[str, Any] | None = None,
) -> Path:  # fmt: skip
    """Writes a self-contained page about one or more images, each explained once or with the values of a control.

    The page makes no request, runs under a content security policy that allows only its own script, and shows names
    and labels as text whatever they hold. `title` is its heading, over the name of each image's model; `options` are
    those of panels, by name. Raises ConfigError without an image.
    """
    sweeps = [each if isinstance(each, ControlSweep) else ControlSweep(explanations=(each,)) for each in explained]
    if not sweeps:
        raise ConfigError("A page needs at least one image; received none.")
    panels = panels_for(frozenset().union(*(sweep.has for sweep in sweeps)))
    kinds = [kind for _, kind in panels]
    content = {
        "gamma": DENSITY_GAMMA,
        "unit": _UNIT,
        "scale": (255 * DENSITY_MAP(np.linspace(0, 1, 128))[:, :3]).round().astype(int).tolist(),
        "images": [_image(sweep, kinds, options or {}) for sweep in sweeps],
    }
    with replacing(Path(path)) as part:
        part.write_text(_rendered(title, panels, content), encoding="utf-8")
    return Path(path)


def packed(xy: Floats, width: int, height: int) -> str:
    """Packs (N, 2) pixels of an image of a size as coordinates."""
    units = np.nan_to_num(xy / (width, height)) * _UNIT
    return as_text(units.round().clip(-32768, 32767).astype("<i2"))


def as_text(values: NDArray[np.generic] | bytes) -> str:
    """Returns bytes, or those of an array, in base 64."""
    return base64.b64encode(bytes(values)).decode("ascii")


def _image(sweep: ControlSweep, panels: Sequence[PanelKind], options: Mapping[str, Any]) -> dict[str, Any]:
    def content(kind: PanelKind, explanation: Explanation) -> dict[str, Any] | None:
        return kind.content(explanation, **kind.own(options)) if kind.needs <= sweep.has else None

    own, control = sweep.own, sweep.control
    width, height = own.size
    values = [f"{value:g}" for value in sweep.values] or [""]
    name = PurePath(own.result.name).name  # pages are passed on; folders are private
    return {
        "name": name,
        "model": own.model,
        "caption": next(iter(scored(own.result)[0]), name) if "scores" in own.has else name,
        "width": width,
        "height": height,
        "dimming": round(dimming(own.preview), 2),
        "box": [round(value, 2) for value in own.geometry.box],
        "image": data_uri(reduced(own.image, _LONGEST), quality=85),
        "thumbnail": data_uri(reduced(own.image, _THUMBNAIL), quality=80),
        "control": None if control is None else spoken(control.name).capitalize(),
        "start": sweep.start,
        "runs": [
            {"value": value, "facts": _facts(each), "panels": {kind.name: content(kind, each) for kind in panels}}
            for value, each in zip(values, sweep.explanations, strict=True)
        ],
    }


def _facts(explanation: Explanation) -> dict[str, str]:
    """Returns what tells the runs of a sweep apart, {column: text}."""
    facts = {}
    if "level_maps.read" in explanation.has:
        levels = explanation.levels
        facts["updated tokens"] = f"{levels.kept} of {levels.total}"
        if levels.selects:
            facts["hold of what is read"] = f"{100 * levels.captured:.0f} %"
    facts["result"] = explanation.answer(200)
    if explanation.seconds is not None:
        milliseconds = 1000 * explanation.seconds
        facts["time"] = f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.2f} s"
    return facts


def _rendered(title: str, panels: Sequence[tuple[str, PanelKind]], content: Mapping[str, Any]) -> str:
    parts = [_divided(_read(module.rpartition(".")[0], f"{kind.name}.html"), kind) for module, kind in panels]
    style = "".join([shell_file("page.css"), *(part["style"] for part in parts)])
    script = "".join([shell_file("page.js"), *(part["script"] for part in parts), "page.start();\n"])
    values = {
        "title": html.escape(title),
        "script": script,
        "below": "".join(part["below"] for part in parts),
        "side": "".join(part["side"] for part in parts),
        # No "<" can close the script element or open a comment in it.
        "data": json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    return document(title, filled("page.html", values), style, script)


def document(title: str, body: str, style: str, script: str = "") -> str:
    """Returns a page that loads nothing, under a policy that allows its own style and script and data in it alone."""
    style = shell_file("colors.css") + style
    values = {
        "title": html.escape(title),
        "style": style,
        "style_hash": _source_hash(style),
        "script_source": f" script-src '{_source_hash(script)}';" if script else "",
        "body": body,
    }
    return filled("shell.html", values)


def filled(name: str, values: Mapping[str, str]) -> str:
    """Returns a file that pages have in common, each {{name}} in it replaced; values are not searched for names."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], shell_file(name))


def shell_file(name: str) -> str:
    """Returns the text of a file that pages have in common."""
    return _read(_SHELL, name)


def _divided(text: str, kind: PanelKind) -> dict[str, str]:
    """Divides a panel's file into style, script, and the markup around them at its place of the page."""
    parts = {"below": "", "side": ""}
    for tag in ("style", "script"):
        found = re.search(rf"<{tag}>\n?(.*?)</{tag}>\n?", text, re.DOTALL)
        parts[tag] = found[1] if found else ""
        text = text.replace(found[0], "") if found else text
    marked = f'<div data-panel="{html.escape(kind.name)}">\n{text}</div>\n'
    return parts | {"below" if kind.below else "side": marked}


def data_uri(image: Image.Image, quality: int) -> str:
    """Returns an image as the address of a JPEG inside the page."""
    written = io.BytesIO()
    image.save(written, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + as_text(written.getvalue())


def _read(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def _source_hash(text: str) -> str:
    """Returns the digest by which a content security policy names an inline style or script."""
    return "sha256-" + as_text(hashlib.sha256(text.encode()).digest())
