"""A sheet of panels measured in inches: rows of equal columns with room for labels, on the Agg canvas."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sparsevision.files import replacing

from .explanation import Explanation
from .overlays import FAINT, INK, draw_image

TEXT_WIDTH = 6.9  # inches: the two columns of a conference paper
_GAP = 0.05
_ROW_LABEL = 0.17
_HEADING = 0.21
_COLUMN_LABEL = 0.15
MARGIN = 0.03
_told: set[str] = set()  # letters that the user knows to be lacking in the font


class Sheet:
    """A figure of rows and columns of panels, a column for each title; `row_heights` are per width of a column."""

    def __init__(
        self, width: float, titles: Sequence[str], row_heights: Sequence[float], *, heading: str, remark: str = "",
        row_label: float = _ROW_LABEL,
    ) -> None:  # fmt: skip
        columns = len(titles)
        self.left = MARGIN + row_label
        self.column = (width - self.left - MARGIN - _GAP * (columns - 1)) / columns
        self.heights = [ratio * self.column for ratio in row_heights]
        self.head = MARGIN + (_HEADING if heading else 0.0)
        self.top = self.head + _COLUMN_LABEL
        self.height = self.top + sum(self.heights) + _GAP * (len(row_heights) - 1) + MARGIN
        self.figure = Figure(figsize=(width, self.height), facecolor="white")
        FigureCanvasAgg(self.figure)
        self.write(MARGIN, MARGIN + 0.015, heading, va="top", fontsize=8.0, fontweight="bold")
        self.write(width - MARGIN, MARGIN + 0.025, remark, va="top", ha="right", color=FAINT)
        for column, title in enumerate(titles):
            middle = self.left + column * (self.column + _GAP) + self.column / 2
            size = 7.0 if self.column > 0.8 else 5.5
            self.write(middle, self.top - 0.045, title, ha="center", va="baseline", fontsize=size)

    @property
    def roomy(self) -> bool:
        """Whether a few lines of text fit into a cell."""
        return self.column >= 0.85 and min(self.heights) >= 0.55

    def panel(self, row: int, column: int) -> Axes:
        """Returns the axes of one cell."""
        return self.inset(row, column, 0.0, 0.0, self.column, self.heights[row])

    def blank(self, row: int, column: int) -> Axes:
        """Returns one cell for text: no frame, coordinates in inches from its upper left corner."""
        axes = self.panel(row, column)
        axes.set_axis_off()
        axes.set(xlim=(0, self.column), ylim=(self.heights[row], 0))
        return axes

    def inset(self, row: int, column: int, x: float, y: float, width: float, height: float) -> Axes:
        """Returns axes at inches from a cell's upper left corner."""
        x, y = self.left + column * (self.column + _GAP) + x, self._row_top(row) + y
        sheet_width = self.figure.get_figwidth()
        place = (x / sheet_width, 1 - (y + height) / self.height, width / sheet_width, height / self.height)
        return self.figure.add_axes(place)

    def label_row(self, row: int, text: str, remark: str = "") -> None:
        """Writes a row's label, and a fainter remark beside it, upwards at its left; smaller where the row is low."""
        fitting = min(1.0, self.letters(self.heights[row], 7.0) / max(len(text), 1))
        middle = self._row_top(row) + self.heights[row] / 2
        inner = self.left - 0.045
        style = {"rotation": 90, "ha": "right", "va": "center"}
        self.write(inner - (0.115 if remark else 0.0), middle, text, fontsize=max(7.0 * fitting, 4.0), **style)
        self.write(inner, middle, remark, fontsize=6.0, color=FAINT, **style)

    def letters(self, inches: float, fontsize: float) -> int:
        """Returns about how many letters of a size fit into a length."""
        return max(3, int(inches * 72 / (0.58 * fontsize)))

    def write(self, x: float, y: float, text: str, **style: Any) -> None:
        """Writes text at inches from the sheet's upper left corner."""
        place = (x / self.figure.get_figwidth(), 1 - y / self.height)
        self.figure.text(*place, text, **{"fontsize": 7.0, "color": INK, "parse_math": False, **style})

    def _row_top(self, row: int) -> float:
        return self.top + sum(self.heights[:row]) + _GAP * row


def sheet_of(
    explanation: Explanation, titles: Sequence[str], rows: Sequence[str], *, width: float, heading: str, remark: str
) -> tuple[Sheet, Axes]:
    """Returns a sheet of labelled rows with the image's own shape, and its first panel, which shows the image."""
    sheet = Sheet(width, titles, [panel_ratio(explanation)] * len(rows), heading=heading, remark=remark)
    for row, label in enumerate(rows):
        sheet.label_row(row, label)
    first = sheet.panel(0, 0)
    draw_image(first, explanation, dim=False)
    return sheet, first


def save_figure(figure: Figure, path: Path | str, *, dpi: int = 220) -> Path:
    """Writes a PNG; the same figure gives the same bytes."""
    with replacing(Path(path)) as part, _one_note_on_letters():
        figure.savefig(part, dpi=dpi, metadata={"Software": None})
    return Path(path)


@contextmanager
def _one_note_on_letters() -> Iterator[None]:
    """Puts one warning in the place of matplotlib's, which come for every letter and text that its font lacks."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    found = {each: re.match(r"Glyph (\d+) .*missing from", str(each.message)) for each in caught}
    lacking = {chr(int(match[1])) for match in found.values() if match} - _told
    _told.update(lacking)
    if lacking:
        warnings.warn(f"The font of figures lacks the letters {''.join(sorted(lacking))}.", stacklevel=4)
    for each, match in found.items():
        if not match:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def panel_ratio(explanation: Explanation) -> float:
    """Returns the height of a panel per width: the image's own, within what a page can hold."""
    width, height = explanation.size
    return float(np.clip(height / width, 0.4, 1.5))
