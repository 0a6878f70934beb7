"""The page of a detector: decoder layers, where each object's query looked, and a slider over precomputed runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsevision.drawing.boxes import class_colours
from sparsevision.drawing.palette import hexadecimal
from sparsevision.errors import ConfigError

from .detection_drawing import level_colours
from .detection_look import DetectionLook, Level, spoken
from .drawing import DENSITY_GAMMA
from .look import Floats, Stage
from .page_writing import TITLE, as_text, packed, picture_content, write_page
from .sweep import Sweep

MOST_OBJECTS = 60  # of a picture, in each run: every one brings its query's points in every layer


def save_detection_page(sweeps: Sequence[Sweep], path: Path | str, *, title: str = TITLE, model: str = "") -> Path:
    """Writes a self-contained page about one or more pictures.

    The page makes no request, runs under a content security policy that allows only its own script, and shows names
    and labels as text whatever they hold. The best `MOST_OBJECTS` of a picture are shown.

    Args:
        sweeps: pictures, each looked at with the values of a control.
        path: of the HTML file.
        title: the page's heading.
        model: named under the heading.

    Raises:
        ConfigError: there is no picture, or one has no whole trace.
    """
    if not sweeps:
        raise ConfigError("A page needs at least one picture; received none.")
    content = {
        "model": model,
        "levels": hexadecimal(level_colours(len(sweeps[0].looks[0].levels))),
        "pictures": [_picture(sweep) for sweep in sweeps],
    }
    return write_page(path, "objects", title, content)


def _picture(sweep: Sweep) -> dict[str, Any]:
    control = sweep.control
    named = None if control is None else {"name": spoken(control.name).capitalize(), "about": control.description}
    values = [f"{value:g}" for value in sweep.values] or [""]
    runs = [{"value": value, **_run(look)} for value, look in zip(values, sweep.looks, strict=True)]
    return picture_content(sweep.looks[0]) | {"control": named, "start": sweep.start, "runs": runs}


def _run(look: DetectionLook) -> dict[str, Any]:
    result, count = look.result, min(len(look.result.boxes), MOST_OBJECTS)
    colours = class_colours(result.labels, look.classes)
    queries = list(look.queries[:count])
    kept, tokens = look.kept
    saliency = max((float(level.saliency.max()) for level in look.levels if level.saliency is not None), default=0.0)
    attention = max(float(level.attention.max()) for level in look.levels)
    return {
        "seconds": None if look.seconds is None else round(look.seconds, 4),
        "kept": kept,
        "tokens": tokens,
        "chooses": look.chooses,
        "captured": round(look.captured, 4),
        "found": look.found,
        "count": len(result.boxes),
        "levels": [_level(look, level, saliency, attention) for level in look.levels],
        "objects": [
            {
                "label": result.labels[index],
                "score": round(result.scores[index], 3),
                "colour": "#{:02x}{:02x}{:02x}".format(*colours[result.labels[index]]),
                "box": [round(edge, 2) for edge in result.boxes[index]],
            }
            for index in range(count)
        ],
        "proposals": None if look.proposals is None else _boxes(look, look.proposals[queries]),
        "layers": [_layer(look, stage, queries) for stage in look.stages],
    }


def _level(look: DetectionLook, level: Level, saliency: float, attention: float) -> dict[str, Any]:
    rows, columns = level.kept.shape
    return {
        "rows": rows,
        "columns": columns,
        "kept": int(level.kept.sum()),
        "read": round(look.read_of(level), 4),
        "chosen": as_text(np.packbits(level.kept)),
        "saliency": None if level.saliency is None else _shades(level.saliency, saliency),
        "attention": _shades(level.attention, attention),
    }


def _shades(values: Floats, most: float) -> str:
    """Writes a map as bytes on the colours' scale, which is finer where values are small."""
    shares = np.clip(values / (most or 1.0), 0, 1) ** DENSITY_GAMMA
    return as_text((255 * shares).round().astype(np.uint8))


def _layer(look: DetectionLook, stage: Stage, queries: list[int]) -> dict[str, Any]:
    """Returns where objects' queries looked in a layer: points (Q P, 2), weights of 255 at most, and levels."""
    points = stage.points[queries]
    weight = np.ones(points.shape[:2]) if stage.weight is None else stage.weight[queries]
    level = np.zeros(points.shape[:2]) if stage.level is None else stage.level[queries]
    most = float(weight.max()) if weight.size else 1.0
    return {
        "title": stage.title,
        "boxes": None if stage.regions is None else _boxes(look, stage.regions[queries]),
        "points": packed(points.reshape(-1, 2), *look.size),
        "weights": as_text((255 * weight / (most or 1.0)).round().astype(np.uint8)),
        "levels": as_text(level.astype(np.uint8)),
        "per_query": points.shape[1],
    }


def _boxes(look: DetectionLook, boxes: Floats) -> str:
    return packed(boxes.reshape(-1, 2), *look.size)
