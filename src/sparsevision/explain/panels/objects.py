"""Objects with their boxes, and the samples of each one's query, layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsevision.drawing.boxes import class_colours
from sparsevision.drawing.palette import hexadecimal

from ..explanation import Explanation, Floats, SamplingStage, boxes_of, scored
from ..kinds import PanelKind
from ..level_overlays import level_colours
from ..page import as_text, packed

MOST_OBJECTS = 60  # of an image, in each run: every one brings its query's points in every layer


def _content(explanation: Explanation) -> dict[str, Any]:
    (labels, scores), boxes = scored(explanation.result), boxes_of(explanation.result)
    colours = class_colours(labels, explanation.result.classes)
    found = list(zip(labels, scores, boxes, strict=True))[:MOST_OBJECTS]
    stages = explanation.stages if {"points", "regions"} <= explanation.has else ()
    queries = list(explanation.queries[:MOST_OBJECTS]) if stages else []
    most = max((int(stage.level.max()) + 1 for stage in stages if stage.level is not None), default=1)
    return {
        "summary": explanation.result.summary(),
        "count": len(boxes),
        "colours": hexadecimal(level_colours(most)),
        "objects": [
            {
                "label": label,
                "score": round(score, 3),
                "colour": "#{:02x}{:02x}{:02x}".format(*colours[label]),
                "box": [round(edge, 2) for edge in box],
            }
            for label, score, box in found
        ],
        "boxes": _boxes(explanation, np.array([box for *_, box in found]).reshape(-1, 4)),
        "layers": [_layer(explanation, stage, queries) for stage in stages],
    }


def _layer(explanation: Explanation, stage: SamplingStage, queries: list[int]) -> dict[str, Any]:
    """Returns the samples of objects' queries in a layer: points (Q P, 2), weights of 255 at most, and levels."""
    points = stage.points[queries]
    weight = np.ones(points.shape[:2]) if stage.weight is None else stage.weight[queries]
    level = np.zeros(points.shape[:2]) if stage.level is None else stage.level[queries]
    most = float(weight.max()) if weight.size else 1.0
    return {
        "title": stage.title, "boxes": None if stage.regions is None else _boxes(explanation, stage.regions[queries]),
        "before": None if stage.before is None else _boxes(explanation, stage.before[queries]),
        "points": packed(points.reshape(-1, 2), *explanation.size),
        "weights": as_text((255 * weight / (most or 1.0)).round().astype(np.uint8)),
        "levels": as_text(level.astype(np.uint8)), "per_query": points.shape[1],
    }  # fmt: skip


def _boxes(explanation: Explanation, boxes: Floats) -> str:
    return packed(boxes.reshape(-1, 2), *explanation.size)


PANEL = PanelKind(name="objects", needs=frozenset({"objects"}), content=_content, view=True)
