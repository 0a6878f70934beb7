"""The cells that each visual token was read from, module by module (the paper's figure of spatial attention)."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from ..explanation import Explanation, Floats
from ..kinds import FigureKind
from ..overlays import FAINT, draw_density, draw_scale, map_size, note, write
from ..sheet import TEXT_WIDTH, Sheet, sheet_of
from ..token_maps import Module, brightest, entropy

_COLUMNS = 8


def attention_figure(explanation: Explanation, *, width: float = TEXT_WIDTH) -> Figure:
    """Draws a panel for each token of each module, brighter where the token was read more."""
    maps = [module.relative("read") for module in explanation.modules]
    return maps_figure(explanation, maps, remark="Where each token was read", width=width)


def maps_figure(explanation: Explanation, maps: Sequence[Floats], *, remark: str, width: float = TEXT_WIDTH) -> Figure:
    """Draws maps of the modules' tokens, relative to an even reading."""
    modules = explanation.modules
    most = max(map(brightest, maps))
    tops: list[int] = []
    labels: list[str] = []
    for module, each in zip(modules, maps, strict=True):
        tops.append(len(labels))
        labels += [module.title, *[""] * (-(-len(each) // _COLUMNS) - 1)]
    titles = ["Input", *[""] * _COLUMNS]
    sheet, _ = sheet_of(explanation, titles, labels, width=width, heading=explanation.answer(), remark=remark)
    for each, top in zip(maps, tops, strict=True):
        _draw_tokens(sheet, explanation, each, top, most)
    if len(labels) > 1:
        _card(sheet, modules, most)
    return sheet.figure


def _draw_tokens(sheet: Sheet, explanation: Explanation, maps: Floats, top: int, most: float) -> None:
    for token, (cells, spread) in enumerate(zip(maps, entropy(maps), strict=True)):
        row, column = divmod(token, _COLUMNS)
        panel = sheet.panel(top + row, 1 + column)
        draw_density(panel, explanation, explanation.laid(cells, map_size(explanation)), most)
        note(panel, f"{token}: {spread:.1f}")


def _card(sheet: Sheet, modules: Sequence[Module], most: float) -> None:
    """Explains numbers and colours below the input."""
    cell = sheet.blank(1, 0)
    write(cell, 0.0, 0.09, "token: entropy", fontsize=5.5)
    even = dict.fromkeys(f"{module.even:.1f}" for module in (modules[0], modules[-1]))  # coarser from level to level
    write(cell, 0.0, 0.18, f"even: {' to '.join(even)}", fontsize=5.5, color=FAINT)
    bar = sheet.inset(1, 0, 0.0, 0.26, 0.9 * sheet.column, 0.05)
    ticks = [tick for tick in (1, 10, 50) if 0.02 * most < tick < 0.5 * most]
    draw_scale(bar, most, {0: "0", **{tick: f"{tick}" for tick in ticks}, most: f"≥ {most:.0f}"})
    write(cell, 0.0, 0.49, "× even", fontsize=5.5, color=FAINT)


FIGURE = FigureKind(
    name="attention", description="the cells that each token was read from", needs=frozenset({"token_maps.read"}),
    draw=attention_figure,
)  # fmt: skip
