"""The query of one object, followed through the layers: its samples, and its box before and after each layer."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsevision.drawing.boxes import class_colours
from sparsevision.errors import ConfigError
from sparsevision.types import Control

from ..explanation import Explanation, Floats, SamplingStage, boxes_of, scored
from ..kinds import FigureKind, NothingToDrawError
from ..level_overlays import draw_box, draw_samples, level_colours
from ..overlays import FAINT, dimmed, draw_image, show_pixels, write
from ..sheet import TEXT_WIDTH, Sheet, panel_ratio, sheet_of
from .saliency import held

NUMBER = Control("object", 1, 1, 100_000, "number of the object whose query is followed, 1 being the best", whole=True)
_CLOSE = 2.6  # sides of a close-up, in sides of the object
_POINT_AREA = 30.0  # square typographic points, of the heaviest point


def query_figure(explanation: Explanation, object: int = 1, *, width: float = TEXT_WIDTH) -> Figure:
    """Draws the samples of an object's query in each layer, and its box before and after the layer.

    Points are as large as their weight and have their level's colour; the box before a layer is dashed. The second row
    is a close-up. `object` is the object's number, 1 being the best; `width` in inches. Raises NothingToDrawError if no
    object was found, and ConfigError if fewer were.
    """
    count, name = len(explanation.queries), explanation.result.name
    if not count:
        raise NothingToDrawError(f"Nothing was found in {name!r}, so no query can be followed: lower the threshold.")
    if not 1 <= object <= count:
        raise ConfigError(f"Object {object} of {name!r} does not exist: choose one from 1 to {count}.")
    query = explanation.queries[object - 1]
    (labels, scores), stages = scored(explanation.result), explanation.stages
    head = f"Object {object} of {len(labels)}: {labels[object - 1]} {scores[object - 1]:.2f}"
    sheet, found = sheet_of(
        explanation, ["Found", *(stage.title for stage in stages)], ["Image", "Close"], width=width, heading=head,
        remark=held(explanation),
    )  # fmt: skip
    box = boxes_of(explanation.result)[object - 1]
    colour = np.divide(class_colours(labels, explanation.result.classes)[labels[object - 1]], 255)
    draw_box(found, box, colour, line=1.1)
    weights = [float(stage.weight[query].max()) for stage in stages if stage.weight is not None]
    most = max(1e-9, max(weights, default=1.0))  # points without weights count as 1
    for column, stage in enumerate(stages, start=1):
        for row, area in ((0, 0.4 * _POINT_AREA), (1, _POINT_AREA)):
            panel = sheet.panel(row, column)
            if row:
                _close_up(panel, explanation, box)
            else:
                draw_image(panel, explanation)
            draw_samples(panel, stage, query, most=most, area=area)
            _draw_boxes(panel, stage, query, colour)
    _level_legend(sheet, stages, query, row=1)
    return sheet.figure


def _draw_boxes(axes: Axes, stage: SamplingStage, query: int, colour: Floats) -> None:
    if stage.before is not None:
        draw_box(axes, stage.before[query], "white", line=0.7, dashed=True)
    if stage.regions is not None:
        draw_box(axes, stage.regions[query], colour, line=0.9)


def _close_up(axes: Axes, explanation: Explanation, box: tuple[float, float, float, float]) -> None:
    """Shows a box's surroundings within the image, in the panel's own shape and at the image's own resolution."""
    show_pixels(axes, explanation, dimmed(explanation.image, 1.3, 0.6))
    x0, y0, x1, y1 = box
    ratio, (width, height) = panel_ratio(explanation), explanation.size
    side = max(x1 - x0, (y1 - y0) / ratio)
    # Of a large object not all of the image again, unless it fills that.
    across = min(_CLOSE * max(side, 0.04 * width), max(width / 2, 1.3 * side), width, height / ratio)
    left = np.clip((x0 + x1 - across) / 2, 0, width - across)
    top = np.clip((y0 + y1 - ratio * across) / 2, 0, height - ratio * across)
    axes.set(xlim=(left, left + across), ylim=(top + ratio * across, top))


def _level_legend(sheet: Sheet, stages: tuple[SamplingStage, ...], query: int, *, row: int) -> None:
    """Names the levels in their colours, with the weight that the query gave each over all layers."""
    levels, weights = [stage.level for stage in stages], [stage.weight for stage in stages]
    if not sheet.roomy or any(level is None for level in levels) or any(weight is None for weight in weights):
        return
    level = np.concatenate([each[query] for each in levels if each is not None])
    weight = np.concatenate([each[query] for each in weights if each is not None])
    shares = np.bincount(level, weight) / weight.sum()
    cell = sheet.blank(row, 0)
    for index, (share, colour) in enumerate(zip(shares, level_colours(len(shares)), strict=True)):
        line = 0.1 + 0.13 * index
        cell.scatter([0.05], [line - 0.03], s=16, color=[colour], linewidths=0)
        write(cell, 0.14, line, f"level {index + 1}: {100 * share:.0f} % of weight")
    write(cell, 0.0, 0.1 + 0.13 * len(shares), "dashed: box before", color=FAINT)


FIGURE = FigureKind(
    name="query", description="the samples of an object's query, layer by layer",
    needs=frozenset({"objects", "points", "regions"}), draw=query_figure, options=(NUMBER,),
)  # fmt: skip
