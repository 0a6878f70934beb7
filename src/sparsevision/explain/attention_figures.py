"""Where each visual token was read, module by module (the paper's figure of the tokens' spatial attention)."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from .attention_look import AttentionLook, TokenMaps, entropy
from .drawing import FAINT, draw_density, draw_picture, draw_scale, map_size, note, write
from .figures import TEXT_WIDTH, best, panel_ratio
from .look import Floats
from .sheet import Sheet

_COLUMNS = 8


def attention_figure(look: AttentionLook, *, interaction: bool = False, width: float = TEXT_WIDTH) -> Figure:
    """Draws a panel for each token of each module, brighter where the token was read more.

    Args:
        look: the picture and its result with the tokens' attention in the trace.
        interaction: draw, for each token, where those tokens were read that it listened to.
        width: of the figure in inches.
    """
    modules = look.modules
    maps = [module.relative(interaction=interaction) for module in modules]
    most = max(float(each.max()) for each in maps) or 1.0
    rows_of = [-(-len(each) // _COLUMNS) for each in maps]
    what = "Where the tokens were read that each listened to" if interaction else "Where each token was read"
    sheet = Sheet(
        width, _COLUMNS + 1, [panel_ratio(look)] * sum(rows_of), heading=best(look), remark=what,
        titles=["Input", *[""] * _COLUMNS],
    )  # fmt: skip
    draw_picture(sheet.panel(0, 0), look, dim=False)
    top = 0
    for module, each, rows in zip(modules, maps, rows_of, strict=True):
        sheet.label_row(top, module.title)
        _draw_tokens(sheet, look, each, top, most)
        top += rows
    _card(sheet, modules, most, row=min(1, top - 1))
    return sheet.figure


def _draw_tokens(sheet: Sheet, look: AttentionLook, maps: Floats, top: int, most: float) -> None:
    for token, (cells, spread) in enumerate(zip(maps, entropy(maps / maps[0].size), strict=True)):
        row, column = divmod(token, _COLUMNS)
        panel = sheet.panel(top + row, 1 + column)
        draw_density(panel, look, look.laid(cells, map_size(look)), most)
        note(panel, f"{token}: {spread:.1f}")


def _card(sheet: Sheet, modules: Sequence[TokenMaps], most: float, *, row: int) -> None:
    """Says below the input what numbers and colours mean."""
    if row == 0:
        return
    cell = sheet.blank(row, 0)
    write(cell, 0.0, 0.09, "token: entropy", fontsize=5.5)
    write(cell, 0.0, 0.18, f"even: {modules[0].even:.1f}", fontsize=5.5, color=FAINT)
    bar = sheet.inset(row, 0, 0.0, 0.26, 0.9 * sheet.column, 0.05)
    ticks = [tick for tick in (1, 10, 50) if 0.02 * most < tick < 0.5 * most]
    draw_scale(bar, most, {0: "0", **{tick: f"{tick}" for tick in ticks}, most: f"{most:.0f}"})
    write(cell, 0.0, 0.49, "× even", fontsize=5.5, color=FAINT)
