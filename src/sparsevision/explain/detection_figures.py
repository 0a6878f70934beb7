"""Figures of a detector: what it found, which tokens it updated beside what its decoder read, where a query looked."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsevision.drawing.boxes import class_colours
from sparsevision.errors import ConfigError

from .detection_drawing import (
    draw_box,
    draw_kept,
    draw_objects,
    draw_samples,
    level_colours,
    merged_attention,
    merged_saliency,
)
from .detection_look import Box, DetectionLook
from .drawing import FAINT, INK, dimmed, draw_density, draw_picture, draw_scale, map_size, note, show_pixels, write
from .figures import TEXT_WIDTH, panel_ratio, shortened
from .look import Floats, Stage
from .sheet import Sheet

_DRAWN_SIDE = 900  # short side in pixels at which boxes and their labels are drawn
_CLOSE = 2.6  # sides of a close-up, in sides of the object
_POINT_AREA = 30.0  # square typographic points, of the heaviest point


def detections_figure(look: DetectionLook, *, width: float = TEXT_WIDTH) -> Figure:
    """Draws what was found over the picture, with numbers (1 being the best), labels and scores.

    Args:
        look: the picture and its result.
        width: of the figure in inches.
    """
    ratio = panel_ratio(look)
    # A tall picture would fill more than a page.
    width = min(width, 8.0 / ratio)
    sheet = Sheet(width, 1, [ratio], heading=look.found, remark=told(look), titles=[""], row_label=0.0)
    drawn = look.result.annotate(look.picture, least_side=_DRAWN_SIDE, numbers=True)
    show_pixels(sheet.panel(0, 0), look, np.asarray(drawn))
    return sheet.figure


def saliency_figure(look: DetectionLook, *, width: float = TEXT_WIDTH) -> Figure:
    """Compares, level by level, what the scorer expected of tokens, which were updated, and what the decoder read.

    A detector that updates all tokens has the last row alone.

    Args:
        look: the picture and its result with the whole trace.
        width: of the figure in inches.
    """
    rows = ["Saliency", "Updated", "Decoder reads"] if look.chooses else ["Decoder reads"]
    shares = [f"Level {index}: {100 * level.share:.0f} % kept" for index, level in enumerate(look.levels, start=1)]
    titles = ["Found", "All levels", *shares]
    sheet = Sheet(
        width, len(titles), [panel_ratio(look)] * len(rows), heading=heading(look), remark=told(look), titles=titles
    )
    found = sheet.panel(0, 0)
    draw_picture(found, look, dim=False)
    draw_objects(found, look, line=0.55)
    note(found, shortened(look.found, sheet.letters(sheet.column, 5.8)))
    for row, label in enumerate(rows):
        sheet.label_row(row, label)
    if look.chooses:
        _saliency_row(sheet, look, 0)
        _kept_row(sheet, look, 1)
        _card(sheet, look, 1)
    _attention_row(sheet, look, len(rows) - 1)
    return sheet.figure


def query_figure(look: DetectionLook, number: int = 1, *, width: float = TEXT_WIDTH) -> Figure:
    """Follows the query that found an object through the decoder: where it sampled, and the box that it then said.

    Points are as large as their weight and have their level's colour; the box before a layer is dashed. The second row
    is a close-up.

    Args:
        look: the picture and its result with the whole trace.
        number: of the object, 1 being the best.
        width: of the figure in inches.
    """
    query = query_of(look, number)
    result, stages = look.result, look.stages
    name = f"{result.labels[number - 1]} {result.scores[number - 1]:.2f}"
    head = f"Object {number} of {len(result.labels)}: {name}"
    titles = ["Found", *(stage.title for stage in stages)]
    sheet = Sheet(width, len(titles), [panel_ratio(look)] * 2, heading=head, remark=told(look), titles=titles)
    for row, label in enumerate(("Picture", "Close")):
        sheet.label_row(row, label)
    box, colour = result.boxes[number - 1], _colour(look, number)
    found = sheet.panel(0, 0)
    draw_picture(found, look, dim=False)
    draw_box(found, box, colour, line=1.1)
    most = max(1e-9, *(float(stage.weight[query].max()) for stage in stages if stage.weight is not None))
    before = None if look.proposals is None else look.proposals[query]
    for column, stage in enumerate(stages, start=1):
        after = None if stage.regions is None else stage.regions[query]
        for row, area in ((0, 0.4 * _POINT_AREA), (1, _POINT_AREA)):
            panel = sheet.panel(row, column)
            if row:
                _close_up(panel, look, box)
            else:
                draw_picture(panel, look)
            draw_samples(panel, stage, query, most=most, area=area)
            for edges, dashed in ((before, True), (after, False)):
                if edges is not None:
                    draw_box(panel, edges, "white" if dashed else colour, line=0.7 if dashed else 0.9, dashed=dashed)
        before = after
    _level_legend(sheet, stages, query, row=1)
    return sheet.figure


def query_of(look: DetectionLook, number: int) -> int:
    """Returns the query of an object, 1 being the best."""
    count = len(look.result.boxes)
    if not count:
        raise ConfigError(
            f"Nothing was found in {look.result.name!r}, so no query can be followed: lower the threshold."
        )
    if not 1 <= number <= count:
        raise ConfigError(f"There is no object {number} in {look.result.name!r}: choose one from 1 to {count}.")
    return look.queries[number - 1]


def heading(look: DetectionLook) -> str:
    """Says how many tokens were updated."""
    kept, total = look.kept
    if not look.chooses:
        return f"All {total} tokens updated"
    return f"{kept} of {total} tokens updated ({100 * kept / total:.0f} %)"


def told(look: DetectionLook) -> str:
    """Says with which settings, and how much of the decoder's attention the updated tokens hold."""
    share = f"updated tokens hold {100 * look.captured:.0f} % of the decoder's attention" if look.chooses else ""
    return " · ".join(filter(None, (look.setting, share)))


def _saliency_row(sheet: Sheet, look: DetectionLook, row: int) -> None:
    most = max(float(level.saliency.max()) for level in look.levels if level.saliency is not None) or 1.0
    panel = sheet.panel(row, 1)
    draw_density(panel, look, merged_saliency(look), most)
    note(panel, "mean of the levels")
    for column, level in enumerate(look.levels, start=2):
        if level.saliency is not None:
            panel = sheet.panel(row, column)
            draw_density(panel, look, look.laid(level.saliency, map_size(look)), most)
            note(panel, f"at most {level.saliency.max():.2f}")


def _kept_row(sheet: Sheet, look: DetectionLook, row: int) -> None:
    panel = sheet.panel(row, 1)
    draw_kept(panel, look, [level.kept for level in look.levels])
    note(panel, "brighter: on more levels")
    for column, level in enumerate(look.levels, start=2):
        panel = sheet.panel(row, column)
        draw_kept(panel, look, [level.kept])
        note(panel, f"{int(level.kept.sum())} of {level.kept.size}")


def _attention_row(sheet: Sheet, look: DetectionLook, row: int) -> None:
    most = max(float(level.attention.max()) for level in look.levels) or 1.0
    together = merged_attention(look)
    panel = sheet.panel(row, 1)
    draw_density(panel, look, together, float(together.max()) or 1.0)
    note(panel, f"at most {together.max():.0f} × even")
    for column, level in enumerate(look.levels, start=2):
        panel = sheet.panel(row, column)
        draw_density(panel, look, look.laid(level.attention, map_size(look)), most)
        note(panel, f"{100 * look.read_of(level):.0f} % of what is read")


def _card(sheet: Sheet, look: DetectionLook, row: int) -> None:
    """Explains the colours in the cell below the input, and says what the choice caught."""
    if not sheet.roomy:
        return
    cell = sheet.blank(row, 0)
    kept, total = look.kept
    lines = [
        ("Updated tokens", INK), (f"{kept} of {total}", FAINT), ("hold of what is read", INK),
        (f"{100 * look.captured:.0f} % (chance: {100 * kept / total:.0f} %)", FAINT),
    ]  # fmt: skip
    for line, (text, colour) in enumerate(lines):
        write(cell, 0.0, 0.1 + 0.1 * line, text, color=colour)
    bar = sheet.inset(row, 0, 0.0, 0.5, 0.88 * sheet.column, 0.06)
    draw_scale(bar, 1.0, {0: "0", 0.1: "0.1", 0.5: "0.5", 1: "most"})
    if sheet.heights[row] > 0.8:
        write(cell, 0.0, 0.74, "share of the most", fontsize=5.5, color=FAINT)


def _close_up(axes: Axes, look: DetectionLook, box: Box) -> None:
    """Shows a box's surroundings within the picture, in the panel's own shape and at the picture's own resolution."""
    show_pixels(axes, look, dimmed(look.picture, 1.3, 0.6))
    x0, y0, x1, y1 = box
    ratio, (width, height) = panel_ratio(look), look.size
    across = min(_CLOSE * max(x1 - x0, (y1 - y0) / ratio, 0.04 * width), width, height / ratio)
    left = np.clip((x0 + x1 - across) / 2, 0, width - across)
    top = np.clip((y0 + y1 - ratio * across) / 2, 0, height - ratio * across)
    axes.set(xlim=(left, left + across), ylim=(top + ratio * across, top))


def _level_legend(sheet: Sheet, stages: tuple[Stage, ...], query: int, *, row: int) -> None:
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


def _colour(look: DetectionLook, number: int) -> Floats:
    label = look.result.labels[number - 1]
    return np.divide(class_colours(look.result.labels, look.classes)[label], 255)
