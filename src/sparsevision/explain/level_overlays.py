"""Feature levels, objects and samples of queries drawn over an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image

from sparsevision.drawing.boxes import class_colours

from .explanation import Explanation, Floats, SamplingStage, boxes_of, scored
from .levels import Mask
from .overlays import dimmed, map_size

_KEPT_DIMMING = 0.7  # of the dimmed image, so that updated cells stand out on dark photographs, too
_LEVEL_MAP = colormaps["plasma"]
Pixels = NDArray[np.uint8]


def level_colours(count: int) -> Floats:
    """Returns (count, 3) sRGB colours for levels, finest first: from purple to yellow."""
    return np.asarray(_LEVEL_MAP(np.linspace(0.38, 0.96, count))[:, :3])


def merged_saliency(explanation: Explanation) -> Floats:
    """Maps the mean saliency of the levels' tokens at each pixel; all zero where nothing was expected.

    Coarse tokens are salient nearly everywhere: their maximum with the others would hide the finest level.
    """
    size = map_size(explanation)
    laid = [explanation.laid(values, size) for values in explanation.levels.expected]
    return np.mean(laid, axis=0) if laid else np.zeros(size)


def merged_reading(explanation: Explanation) -> Floats:
    """Maps how much was read at each pixel, over all levels: 1 where it is as if spread evenly."""
    maps = [level.read for level in explanation.levels.each]
    total = sum(float(values.sum()) for values in maps) or 1.0
    laid = [explanation.laid(values * values.size, map_size(explanation)) for values in maps]
    return np.asarray(np.sum(laid, axis=0) / total)


def kept_pixels(explanation: Explanation, masks: Sequence[Mask], image: Image.Image) -> Pixels:
    """Returns the image, dimmed where the cells of few masks are set, and as it is where those of all are."""
    bright, dark = np.asarray(image.convert("RGB")), dimmed(image, _KEPT_DIMMING)
    share = np.mean([explanation.laid(mask, bright.shape[:2]) > 0 for mask in masks], axis=0)[..., None]
    return np.asarray(dark + share * (bright.astype(float) - dark)).round().astype(np.uint8)


def draw_objects(axes: Axes, explanation: Explanation, *, line: float = 0.7) -> None:
    """Outlines the objects, a colour for each class; `line` in typographic points."""
    labels, _ = scored(explanation.result)
    colours = class_colours(labels, explanation.result.classes)
    for box, label in zip(boxes_of(explanation.result), labels, strict=True):
        draw_box(axes, box, np.divide(colours[label], 255), line=line)


def draw_box(
    axes: Axes, box: Sequence[float] | Floats, colour: Floats | str, *, line: float, dashed: bool = False
) -> None:
    """Outlines one box (x0, y0, x1, y1), with a dark edge on both sides of the line."""
    x0, y0, x1, y1 = box
    edge = [withStroke(linewidth=1.8 * line, foreground="#121212")]
    style = (0, (2, 1.5)) if dashed else "solid"
    axes.add_patch(
        Rectangle(
            (x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=line, linestyle=style, zorder=4,
            path_effects=[] if dashed else edge,
        )
    )  # fmt: skip


def draw_samples(axes: Axes, stage: SamplingStage, query: int, *, most: float, area: float) -> None:
    """Draws where one query sampled, in its levels' colours; a point of weight `most` covers `area` square points."""
    points = stage.points[query]
    weight = np.ones(len(points)) if stage.weight is None else stage.weight[query]
    level = np.zeros(len(points), int) if stage.level is None else stage.level[query]
    colours = level_colours(1 if stage.level is None else int(stage.level.max()) + 1)
    order = np.argsort(-weight, kind="stable")  # small points come over large ones
    axes.scatter(
        points[order, 0], points[order, 1], s=area * weight[order] / most, c=colours[level[order]],
        edgecolors="#121212", linewidths=0.2, zorder=5,
    )  # fmt: skip
