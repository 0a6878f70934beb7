"""Saliency, updated tokens and reading, level by level: which tokens a sparse encoder chose, and whether rightly."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..explanation import Explanation, titled
from ..kinds import FigureKind
from ..level_overlays import draw_kept, draw_objects, merged_reading, merged_saliency
from ..overlays import FAINT, INK, draw_density, draw_image, draw_scale, map_size, note, write
from ..sheet import TEXT_WIDTH, Sheet, panel_ratio


def saliency_figure(explanation: Explanation, *, width: float = TEXT_WIDTH) -> Figure:
    """Compares, level by level, the expected reading of tokens, those that were updated, and what was read.

    A model that updates all tokens has the last row alone.

    Args:
        explanation: with level maps in the trace.
        width: of the figure in inches.
    """
    levels = explanation.levels
    rows = [
        *([("Saliency", _saliency_row)] if levels.expects else []),
        *([("Updated", _kept_row)] if levels.selects else []),
        (f"{titled(levels.reader)} reads", _reading_row),
    ]
    shares = [f"Level {index}: {100 * level.share:.0f} % kept" for index, level in enumerate(levels.each, start=1)]
    titles = ["Found" if "objects" in explanation.has else "Input", "All levels", *shares]
    sheet = Sheet(
        width, len(titles), [panel_ratio(explanation)] * len(rows), heading=updated(explanation),
        remark=held(explanation), titles=titles,
    )  # fmt: skip
    image = sheet.panel(0, 0)
    draw_image(image, explanation, dim=False)
    if "objects" in explanation.has:
        draw_objects(image, explanation, line=0.55)
    note(image, explanation.answer(sheet.letters(sheet.column, 5.8)))
    for row, (label, draw) in enumerate(rows):
        sheet.label_row(row, label)
        draw(sheet, explanation, row)
    if levels.selects and len(rows) > 1:
        _card(sheet, explanation, 1)
    return sheet.figure


def updated(explanation: Explanation) -> str:
    """Returns how many tokens were updated, in words."""
    levels = explanation.levels
    if not levels.selects:
        return f"All {levels.total} tokens updated"
    return f"{levels.kept} of {levels.total} tokens updated ({100 * levels.kept / levels.total:.0f} %)"


def held(explanation: Explanation) -> str:
    """Returns the settings, and how much of the reading the updated tokens hold, in words."""
    levels = explanation.levels if "level_maps.read" in explanation.has else None
    share = f"updated tokens hold {100 * levels.captured:.0f} % of the {levels.reader}'s attention" if levels else ""
    return " · ".join(filter(None, (explanation.setting, share if levels and levels.selects else "")))


def _saliency_row(sheet: Sheet, explanation: Explanation, row: int) -> None:
    expected = [level.expected for level in explanation.levels.each if level.expected is not None]
    most = max(float(values.max()) for values in expected) or 1.0
    panel = sheet.panel(row, 1)
    draw_density(panel, explanation, merged_saliency(explanation), most)
    note(panel, "mean of the levels")
    for column, values in enumerate(expected, start=2):
        panel = sheet.panel(row, column)
        draw_density(panel, explanation, explanation.laid(values, map_size(explanation)), most)
        note(panel, f"at most {values.max():.2f}")


def _kept_row(sheet: Sheet, explanation: Explanation, row: int) -> None:
    levels = explanation.levels.each
    panel = sheet.panel(row, 1)
    draw_kept(panel, explanation, [level.kept for level in levels])
    note(panel, "brighter: on more levels")
    for column, level in enumerate(levels, start=2):
        panel = sheet.panel(row, column)
        draw_kept(panel, explanation, [level.kept])
        note(panel, f"{int(level.kept.sum())} of {level.kept.size}")


def _reading_row(sheet: Sheet, explanation: Explanation, row: int) -> None:
    levels = explanation.levels
    most = max(float(level.read.max()) for level in levels.each) or 1.0
    together = merged_reading(explanation)
    panel = sheet.panel(row, 1)
    draw_density(panel, explanation, together, float(together.max()) or 1.0)
    note(panel, f"at most {together.max():.0f} × even")
    for column, level in enumerate(levels.each, start=2):
        panel = sheet.panel(row, column)
        draw_density(panel, explanation, explanation.laid(level.read, map_size(explanation)), most)
        note(panel, f"{100 * levels.read_of(level):.0f} % of what is read")


def _card(sheet: Sheet, explanation: Explanation, row: int) -> None:
    """Explains the colours in the cell below the input, beside the share of reading that the choice holds."""
    if not sheet.roomy:
        return
    cell, levels = sheet.blank(row, 0), explanation.levels
    lines = [
        ("Updated tokens", INK), (f"{levels.kept} of {levels.total}", FAINT), ("hold of what is read", INK),
        (f"{100 * levels.captured:.0f} % (chance: {100 * levels.kept / levels.total:.0f} %)", FAINT),
    ]  # fmt: skip
    for line, (text, colour) in enumerate(lines):
        write(cell, 0.0, 0.1 + 0.1 * line, text, color=colour)
    bar = sheet.inset(row, 0, 0.0, 0.5, 0.88 * sheet.column, 0.06)
    draw_scale(bar, 1.0, {0: "0", 0.1: "0.1", 0.5: "0.5", 1: "most"})
    if sheet.heights[row] > 0.8:
        write(cell, 0.0, 0.74, "share of the most", fontsize=5.5, color=FAINT)


FIGURE = FigureKind(
    name="saliency",
    description="expected, updated and read tokens, level by level",
    needs=frozenset({"level_maps.read"}),
    draw=saliency_figure,
)
