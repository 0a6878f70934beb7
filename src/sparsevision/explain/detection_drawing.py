"""How what a detector says of itself is drawn over the picture: boxes, chosen tokens, a query's points."""

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

from .detection_look import DetectionLook, Mask
from .drawing import dimmed, map_size, show_pixels
from .look import Floats, Stage

_KEPT_DIMMING = 0.7  # of the dimmed picture, so that chosen cells stand out on dark photographs, too
_LEVEL_MAP = colormaps["plasma"]
Pixels = NDArray[np.uint8]


def level_colours(count: int) -> Floats:
    """Returns (count, 3) sRGB colours for levels, finest first: from purple to yellow."""
    return np.asarray(_LEVEL_MAP(np.linspace(0.38, 0.96, count))[:, :3])


def merged_saliency(look: DetectionLook) -> Floats:
    """Maps the mean saliency of the levels' tokens at each pixel; all zero where the model chose nothing.

    Coarse tokens are salient nearly everywhere: their maximum with the others would hide what the finest level says.
    """
    laid = [look.laid(level.saliency, map_size(look)) for level in look.levels if level.saliency is not None]
    return np.mean(laid, axis=0) if laid else np.zeros(map_size(look))


def merged_attention(look: DetectionLook) -> Floats:
    """Maps how much the decoder read at each pixel, over all levels: 1 where it is as if spread evenly."""
    total = sum(float(level.attention.sum()) for level in look.levels) or 1.0
    laid = [look.laid(level.attention * level.attention.size, map_size(look)) for level in look.levels]
    return np.asarray(np.sum(laid, axis=0) / total)


def kept_pixels(look: DetectionLook, masks: Sequence[Mask], picture: Image.Image) -> Pixels:
    """Shows the picture as it is where the cells of all masks are chosen, dimmed where none is, in steps between."""
    bright, dark = np.asarray(picture.convert("RGB")), dimmed(picture, _KEPT_DIMMING)
    share = np.mean([look.laid(mask, bright.shape[:2]) > 0 for mask in masks], axis=0)[..., None]
    return np.asarray(dark + share * (bright.astype(float) - dark)).round().astype(np.uint8)


def draw_kept(axes: Axes, look: DetectionLook, masks: Sequence[Mask]) -> None:
    """Draws which cells were chosen; see `kept_pixels`."""
    show_pixels(axes, look, kept_pixels(look, masks, look.preview))


def draw_objects(axes: Axes, look: DetectionLook, *, line: float = 0.7) -> None:
    """Outlines what was found, a colour a class; `line` in typographic points."""
    colours = class_colours(look.result.labels, look.classes)
    for box, label in zip(look.result.boxes, look.result.labels, strict=True):
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


def draw_samples(axes: Axes, stage: Stage, query: int, *, most: float, area: float) -> None:
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
