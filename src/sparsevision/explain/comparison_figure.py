"""Results beside the truth, image by image: a contact sheet of mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from sparsevision.errors import ConfigError
from sparsevision.types import Result

from .explanation import shortened
from .overlays import FAINT, write
from .sheet import TEXT_WIDTH, Sheet

_DRAWN_SIDE = 300  # short side in pixels at which boxes and their labels are drawn


def comparison_figure(
    images: Sequence[Image.Image], found: Sequence[Result], true: Sequence[Result], *, columns: int = 3,
    width: float = 2 * TEXT_WIDTH,
) -> Figure:  # fmt: skip
    """Draws pairs: left the result, with scores, right the truth; below each its summary.

    Images are upright and RGB, `columns` is the number of pairs side by side, `width` is in inches. Raises ConfigError
    without images, or with another number of results.
    """
    if not images or not len(images) == len(found) == len(true):
        raise ConfigError(
            f"A comparison needs as many results as images; received {len(images)} images, {len(found)} and "
            f"{len(true)} results."
        )
    rows = -(-len(images) // columns)
    ratios = [image.height / image.width for image in images]
    heights = [min(max(ratios[row * columns : (row + 1) * columns]), 1.5) for row in range(rows)]
    # A line of text under every image.
    sheet = Sheet(width, ["found", "true"] * columns, [height + 0.12 for height in heights], heading="", row_label=0.0)
    for index, image in enumerate(images):
        row, pair = divmod(index, columns)
        bare: dict[str, Any] = {"scores": False} if "objects" in true[index].offers else {}
        for column, result, options in ((2 * pair, found[index], {}), (2 * pair + 1, true[index], bare)):
            drawn = result.annotate(image, least_side=_DRAWN_SIDE, **options)
            height = min(ratios[index], heights[row]) * sheet.column
            axes = sheet.inset(row, column, 0.0, 0.0, sheet.column, height)
            axes.imshow(np.asarray(drawn), interpolation="antialiased")
            axes.set_axis_off()
            text = shortened(result.summary(), sheet.letters(sheet.column, 6.0))
            write(sheet.blank(row, column), 0.0, height + 0.1, text, color=FAINT)
    return sheet.figure
