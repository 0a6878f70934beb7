"""The sampling stages side by side (Figures 3 and 4 of the SparseFormer paper)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from sparsevision.drawing.palette import token_colours
from sparsevision.types import Control

from ..density import DEFAULT_RADIUS
from ..explanation import Explanation, scored, shortened
from ..kinds import FigureKind
from ..overlays import FAINT, INK, density_maps, draw_density, draw_image, draw_points, draw_regions, draw_scale, write
from ..sheet import TEXT_WIDTH, Sheet, sheet_of

RADIUS = Control(
    "radius", DEFAULT_RADIUS, 0.001, 1.0, "radius of the density's kernel, as a fraction of the image's shorter side"
)


def stages_figure(explanation: Explanation, *, radius: float = DEFAULT_RADIUS, width: float = TEXT_WIDTH) -> Figure:
    """Draws the stages side by side: sampling points by token, RoIs, density.

    `radius` of the density's top-hat kernel, as a fraction of the image's shorter side; `width` in inches.
    """
    stages, colours = explanation.stages, token_colours(explanation.num_tokens)
    maps = density_maps(explanation, radius)
    most = max(float(values.max()) for values in maps) or 1.0
    rows = ["Points", "RoIs", "Density"] if stages[0].regions is not None else ["Points", "Density"]
    titles = ["Input", *(stage.title for stage in stages)]
    remark = "{} tokens × {} points × {} stages".format(*stages[0].points.shape[:2], len(stages))
    sheet, _ = sheet_of(explanation, titles, rows, width=width, heading=explanation.answer(), remark=remark)
    if sheet.roomy:
        _colour_bar(sheet, most, radius, row=len(rows) - 1)
        if "scores" in explanation.has and len(rows) > 2:
            _predictions(sheet, explanation, row=1)
    for column, (stage, values) in enumerate(zip(stages, maps, strict=True), start=1):
        points, *others = (sheet.panel(row, column) for row in range(len(rows)))
        draw_image(points, explanation)
        draw_points(points, stage, colours, diameter=dot(sheet))
        for regions in others[:-1]:
            draw_image(regions, explanation)
            draw_regions(regions, stage, colours, line=0.45)
        draw_density(others[-1], explanation, values, most)
    return sheet.figure


def dot(sheet: Sheet) -> float:
    """Returns the diameter of a sampling point, in typographic points, for the sheet's panels."""
    return float(np.clip(1.05 * sheet.column, 0.7, 2.5))


def _predictions(sheet: Sheet, explanation: Explanation, *, row: int, most: int = 4) -> None:
    """Lists the best classes with thin bars in the cell below the input."""
    cell = sheet.blank(row, 0)
    bottom, right = sheet.heights[row], 0.97 * sheet.column
    shown = list(zip(*scored(explanation.result), strict=True))[: min(most, int(bottom / 0.165))]
    letters = sheet.letters(right, 6.0) - 5
    for rank, (label, score) in enumerate(shown):
        line = 0.1 + 0.17 * rank
        strong = INK if rank == 0 else FAINT
        write(cell, 0.0, line, shortened(label, letters), color=strong)
        write(cell, right, line, f"{score:.2f}", color=strong, ha="right")
        cell.plot([0.0, right], [line + 0.04] * 2, color="#e4e4e4", linewidth=1.6, solid_capstyle="butt")
        cell.plot([0.0, right * score], [line + 0.04] * 2, color=strong, linewidth=1.6, solid_capstyle="butt")


def _colour_bar(sheet: Sheet, most: float, radius: float, *, row: int) -> None:
    """Explains the colours of the density in the cell below the input."""
    cell = sheet.blank(row, 0)
    for line, text in enumerate(("Samples near a pixel,", "1 = as if spread evenly")):
        write(cell, 0.0, 0.1 + 0.09 * line, text)
    for line, text in enumerate(("top-hat kernel, radius", f"{100 * radius:.3g} % of short side")):
        write(cell, 0.0, 0.51 + 0.085 * line, text, fontsize=5.5, color=FAINT)
    bar = sheet.inset(row, 0, 0.0, 0.24, 0.95 * sheet.column, 0.06)
    ticks = [tick for tick in (0, 1, 5, 20, 50, 100, 200) if tick < 0.6 * most] + [round(most)]
    draw_scale(bar, most, {tick: f"{tick:g}" for tick in ticks})


FIGURE = FigureKind(
    name="stages", description="points, RoIs and density of each sampling stage", needs=frozenset({"points"}),
    draw=stages_figure, options=(RADIUS,),
)  # fmt: skip
