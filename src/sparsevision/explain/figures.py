"""The paper's figures for any picture: 3 and 4 (stages), 6 (the tokens of a class), 7 (disturbed pictures)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from sparsevision.drawing.palette import token_colours

from .density import DEFAULT_RADIUS
from .drawing import (
    FAINT,
    INK,
    density_maps,
    draw_density,
    draw_picture,
    draw_points,
    draw_regions,
    draw_scale,
    draw_spotlight,
    write,
)
from .look import Look
from .sheet import Sheet

TEXT_WIDTH = 6.9  # inches: the two columns of a conference paper


def stages_figure(look: Look, *, radius: float = DEFAULT_RADIUS, width: float = TEXT_WIDTH) -> Figure:
    """Draws the stages side by side: sampling points by token, RoIs, density (Figures 3 and 4 of the paper).

    Args:
        look: the picture and its result with points (and regions) in the trace.
        radius: of the density's top-hat kernel, as a fraction of the picture's shorter side.
        width: of the figure in inches; text keeps its size.
    """
    stages, colours = look.stages, token_colours(look.num_tokens)
    titles = ["Input", *(stage.title for stage in stages)]
    maps = density_maps(look, radius)
    most = max(float(values.max()) for values in maps) or 1.0
    sheet = Sheet(width, len(titles), [panel_ratio(look)] * 3, heading=best(look), remark=_amount(look), titles=titles)
    draw_picture(sheet.panel(0, 0), look, dim=False)
    if sheet.roomy:
        _predictions(sheet, look, row=1)
        _colour_bar(sheet, most, radius, row=2)
    for row, label in enumerate(("Points", "RoIs", "Density")):
        sheet.label_row(row, label)
    for column, (stage, values) in enumerate(zip(stages, maps, strict=True), start=1):
        points, regions, dense = (sheet.panel(row, column) for row in range(3))
        draw_picture(points, look)
        draw_points(points, stage, colours, diameter=_dot(sheet))
        draw_picture(regions, look)
        draw_regions(regions, stage, colours, line=0.45)
        draw_density(dense, look, values, most)
    return sheet.figure


def tokens_figure(look: Look, label: str, *, count: int = 5, width: float = TEXT_WIDTH) -> Figure:
    """Follows the tokens that respond most to a class through the stages, a row for each (Figure 6 of the paper).

    A token's response is the logit that the classifier gives to this token alone.
    """
    stages, colours = look.stages, token_colours(look.num_tokens)
    response, tokens = look.response(label), look.responding(label, count)
    titles = ["Input", *(stage.title for stage in stages)]
    ratios = [panel_ratio(look)] * (len(tokens) + 1)
    head, remark = f"Tokens that respond most to “{label}”", f"predicted: {best(look)}"
    sheet = Sheet(width, len(titles), ratios, heading=head, remark=remark, titles=titles)
    draw_picture(sheet.panel(0, 0), look, dim=False)
    sheet.label_row(0, "Together")
    for column, stage in enumerate(stages, start=1):
        panel = sheet.panel(0, column)
        draw_picture(panel, look)
        draw_points(panel, stage, colours, tokens=tokens, diameter=1.3 * _dot(sheet))
        draw_regions(panel, stage, colours, tokens=tokens, line=0.7)
        for row, token in enumerate(tokens, start=1):
            panel = sheet.panel(row, column)
            draw_spotlight(panel, look, None if stage.regions is None else stage.regions[token])
            draw_regions(panel, stage, colours, tokens=[token], line=0.9)
            draw_points(panel, stage, colours, tokens=[token], diameter=1.6 * _dot(sheet))
    for row, token in enumerate(tokens, start=1):
        _token_card(sheet, row, token, float(response[token]), colours[token])
    return sheet.figure


def disturbed_figure(looks: Mapping[str, Look], *, radius: float = DEFAULT_RADIUS, width: float = TEXT_WIDTH) -> Figure:
    """Shows the sampling density of versions of one picture, a row for each (Figure 7 of the paper).

    Args:
        looks: what each version is called, and its picture and result.
        radius: of the density's top-hat kernel, as a fraction of each picture's shorter side.
        width: of the figure in inches.
    """
    first = next(iter(looks.values()))
    titles = ["Input", *(stage.title for stage in first.stages)]
    maps = {name: density_maps(look, radius) for name, look in looks.items()}
    most = max(float(values.max()) for versions in maps.values() for values in versions) or 1.0
    ratios = [panel_ratio(look) for look in looks.values()]
    remark = f"brightest: {most:.0f} times even sampling"
    sheet = Sheet(width, len(titles), ratios, heading="Sampling density", remark=remark, titles=titles, row_label=0.28)
    for row, (name, look) in enumerate(looks.items()):
        length = sheet.letters(sheet.heights[row], 6.0)
        sheet.label_row(row, shortened(name[:1].upper() + name[1:], length), best(look, length))
        draw_picture(sheet.panel(row, 0), look, dim=False)
        for column, values in enumerate(maps[name], start=1):
            draw_density(sheet.panel(row, column), look, values, most)
    return sheet.figure


def best(look: Look, letters: int = 80) -> str:
    """Names the predicted class and its score, shortening the name to fit into so many letters."""
    if not look.result.labels:
        return "no class"
    return f"{shortened(look.result.labels[0], letters - 5)} {look.result.scores[0]:.2f}"


def _amount(look: Look) -> str:
    tokens, points = look.stages[0].points.shape[:2]
    return f"{tokens} tokens × {points} points × {len(look.stages)} stages"


def panel_ratio(look: Look) -> float:
    """Height of a panel per width: the picture's own, within what a page can hold."""
    width, height = look.size
    return float(np.clip(height / width, 0.4, 1.5))


def _dot(sheet: Sheet) -> float:
    """Diameter of a sampling point, in typographic points, for the sheet's panels."""
    return float(np.clip(1.05 * sheet.column, 0.7, 2.5))


def shortened(text: str, most: int) -> str:
    """Cuts text to so many letters."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _predictions(sheet: Sheet, look: Look, *, row: int, most: int = 4) -> None:
    """Lists the best classes with thin bars in the cell below the input."""
    cell = sheet.blank(row, 0)
    bottom, right = sheet.heights[row], 0.97 * sheet.column
    shown = list(zip(look.result.labels, look.result.scores, strict=True))[: min(most, int(bottom / 0.165))]
    letters = sheet.letters(right, 6.0) - 5
    for rank, (label, score) in enumerate(shown):
        line = 0.1 + 0.17 * rank
        strong = INK if rank == 0 else FAINT
        write(cell, 0.0, line, shortened(label, letters), color=strong)
        write(cell, right, line, f"{score:.2f}", color=strong, ha="right")
        cell.plot([0.0, right], [line + 0.04] * 2, color="#e4e4e4", linewidth=1.6, solid_capstyle="butt")
        cell.plot([0.0, right * score], [line + 0.04] * 2, color=strong, linewidth=1.6, solid_capstyle="butt")


def _colour_bar(sheet: Sheet, most: float, radius: float, *, row: int) -> None:
    """Says in the cell below what the colours of the density mean."""
    cell = sheet.blank(row, 0)
    for line, text in enumerate(("Samples near a pixel,", "1 = as if spread evenly")):
        write(cell, 0.0, 0.1 + 0.09 * line, text)
    for line, text in enumerate(("top-hat kernel, radius", f"{100 * radius:.3g} % of short side")):
        write(cell, 0.0, 0.51 + 0.085 * line, text, fontsize=5.5, color=FAINT)
    bar = sheet.inset(row, 0, 0.0, 0.24, 0.95 * sheet.column, 0.06)
    ticks = [tick for tick in (0, 1, 5, 20, 50, 100, 200) if tick < 0.6 * most] + [round(most)]
    draw_scale(bar, most, {tick: f"{tick:g}" for tick in ticks})


def _token_card(sheet: Sheet, row: int, token: int, response: float, colour: np.ndarray) -> None:
    """Names a row's token in its colour, beside the label's place."""
    cell, middle = sheet.blank(row, 0), sheet.heights[row] / 2
    cell.scatter([0.1], [middle - 0.06], s=42, color=[colour], marker="s", linewidths=0)
    write(cell, 0.22, middle - 0.06, f"Token {token}", va="center", fontsize=7.0)
    write(cell, 0.22, middle + 0.06, f"logit {response:+.1f}", va="center", color=FAINT)
