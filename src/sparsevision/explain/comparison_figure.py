"""What a detector found beside what is true, picture by picture: a contact sheet on which mistakes can be seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from sparsevision.errors import ConfigError
from sparsevision.types import Result

from .drawing import FAINT, write
from .figures import TEXT_WIDTH, shortened
from .sheet import Sheet

_DRAWN_SIDE = 300  # short side in pixels at which boxes and their labels are drawn


def comparison_figure(
    pictures: Sequence[Image.Image],
    found: Sequence[Result],
    true: Sequence[Result],
    *,
    classes: Sequence[str] = (),
    columns: int = 3,
    width: float = 2 * TEXT_WIDTH,
) -> Figure:
    """Draws pairs: left what was found, with scores, right what is true; below each how many objects of each class.

    Args:
        pictures: upright and RGB.
        found: what the detector says of each.
        true: what the data set says of each.
        classes: in the model's order; a class then has the same colour everywhere.
        columns: pairs side by side.
        width: of the figure in inches.

    Raises:
        ConfigError: there is no picture, or not as many results.
    """
    if not pictures or not len(pictures) == len(found) == len(true):
        raise ConfigError(
            f"A comparison needs as many results as pictures; received {len(pictures)} pictures, {len(found)} and "
            f"{len(true)} results."
        )
    rows = -(-len(pictures) // columns)
    ratios = [picture.height / picture.width for picture in pictures]
    heights = [min(max(ratios[row * columns : (row + 1) * columns]), 1.5) for row in range(rows)]
    sheet = Sheet(
        # A line of text under every picture.
        width, 2 * columns, [height + 0.12 for height in heights], heading="", titles=["found", "true"] * columns,
        row_label=0.0,
    )  # fmt: skip
    for index, picture in enumerate(pictures):
        row, pair = divmod(index, columns)
        for column, result, scores in ((2 * pair, found[index], True), (2 * pair + 1, true[index], False)):
            drawn = result.annotate(picture, least_side=_DRAWN_SIDE, scores=scores)
            height = min(ratios[index], heights[row]) * sheet.column
            axes = sheet.inset(row, column, 0.0, 0.0, sheet.column, height)
            axes.imshow(np.asarray(drawn), interpolation="antialiased")
            axes.set_axis_off()
            _tell(sheet.blank(row, column), height, result, sheet.letters(sheet.column, 6.0))
    return sheet.figure


def _tell(axes: Axes, below: float, result: Result, letters: int) -> None:
    told = ", ".join(f"{count} {label}" for label, count in result.counts().items()) or "nothing"
    write(axes, 0.0, below + 0.1, shortened(told, letters), color=FAINT)
