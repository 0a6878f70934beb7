"""Saliency, updated tokens and reading, level by level: which tokens a sparse encoder chose, and whether rightly."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from ..explanation import Explanation, Floats, titled
from ..kinds import FigureKind
from ..level_overlays import draw_objects, kept_pixels, merged_reading, merged_saliency
from ..overlays import FAINT, INK, draw_density, draw_scale, map_size, note, show_pixels, write
from ..sheet import TEXT_WIDTH, Sheet, sheet_of


def saliency_figure(explanation: Explanation, *, width: float = TEXT_WIDTH) -> Figure:
    """Compares, level by level, the expected reading of tokens, those that were updated, and what was read.

    A model that updates all tokens has the last row alone. `width` in inches.
    """
    levels = explanation.levels
    rows = [
        *([("Saliency", _saliency_row)] if levels.expected else []),
        *([("Updated", _kept_row)] if levels.selects else []),
        (f"{titled(levels.reader)} reads", _reading_row),
    ]
    shares = [f"Level {index}: {100 * level.share:.0f} % kept" for index, level in enumerate(levels.each, start=1)]
    titles = ["Found" if "objects" in explanation.has else "Input", "All levels", *shares]
    sheet, image = sheet_of(
        explanation, titles, [label for label, _ in rows], width=width, heading=updated(explanation),
        remark=held(explanation),
    )  # fmt: skip
    if "objects" in explanation.has:
        draw_objects(image, explanation, line=0.55)
    note(image, explanation.answer(sheet.letters(sheet.column, 5.8)))
    for row, (_, draw) in enumerate(rows):
        draw(sheet, explanation, row)
    if levels.selects and sheet.roomy:
        _card(sheet, explanation)
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
    expected = explanation.levels.expected
    most = max(float(values.max()) for values in expected)
    notes = [f"at most {values.max():.2f}" for values in expected]
    _maps_row(sheet, explanation, row, (merged_saliency(explanation), most, "mean of the levels"), expected, notes)


def _kept_row(sheet: Sheet, explanation: Explanation, row: int) -> None:
    kept = [level.kept for level in explanation.levels.each]
    notes = ["brighter: on more levels", *(f"{int(mask.sum())} of {mask.size}" for mask in kept)]
    for column, (masks, text) in enumerate(zip((kept, *([mask] for mask in kept)), notes, strict=True), start=1):
        panel = sheet.panel(row, column)
        show_pixels(panel, explanation, kept_pixels(explanation, masks, explanation.preview))
        note(panel, text)


def _reading_row(sheet: Sheet, explanation: Explanation, row: int) -> None:
    levels, together = explanation.levels, merged_reading(explanation)
    most = float(together.max())
    notes = [f"{100 * levels.read_of(level):.0f} % of what is read" for level in levels.each]
    read = [level.read for level in levels.each]
    _maps_row(sheet, explanation, row, (together, most, f"at most {most:.0f} × even"), read, notes)


def _maps_row(
    sheet: Sheet, explanation: Explanation, row: int, together: tuple[Floats, float, str], maps: Sequence[Floats],
    notes: Sequence[str],
) -> None:  # fmt: skip
    """Draws a map of all levels with its own highest value, and the levels' maps (H, W) with one for all."""
    most, size = max(float(values.max()) for values in maps), map_size(explanation)
    levels = ((explanation.laid(values, size), most, text) for values, text in zip(maps, notes, strict=True))
    for column, (values, highest, text) in enumerate((together, *levels), start=1):
        panel = sheet.panel(row, column)
        draw_density(panel, explanation, values, highest or 1.0)
        note(panel, text)


def _card(sheet: Sheet, explanation: Explanation) -> None:
    """Explains the colours in the cell below the input, beside the share of reading that the choice holds."""
    cell, levels = sheet.blank(1, 0), explanation.levels
    lines = [
        ("Updated tokens", INK), (f"{levels.kept} of {levels.total}", FAINT), ("hold of what is read", INK),
        (f"{100 * levels.captured:.0f} % (chance: {100 * levels.kept / levels.total:.0f} %)", FAINT),
    ]  # fmt: skip
    for line, (text, colour) in enumerate(lines):
        write(cell, 0.0, 0.1 + 0.1 * line, text, color=colour)
    bar = sheet.inset(1, 0, 0.0, 0.5, 0.88 * sheet.column, 0.06)
    draw_scale(bar, 1.0, {0: "0", 0.1: "0.1", 0.5: "0.5", 1: "most"})
    if sheet.heights[1] > 0.8:
        write(cell, 0.0, 0.74, "share of the most", fontsize=5.5, color=FAINT)


FIGURE = FigureKind(
    name="saliency", description="expected, updated and read tokens, level by level",
    needs=frozenset({"level_maps.read"}), draw=saliency_figure,
)  # fmt: skip
