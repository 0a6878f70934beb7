"""The tables of figures, animations and panels: dotted paths ("module:object"), imported when they are used.

A way to explain is one file and one name here, offered wherever its needs are met; the first one is the default.
"""

from __future__ import annotations

from collections.abc import Iterable
from pkgutil import resolve_name

from .kinds import AnimationKind, FigureKind, PanelKind

FIGURES: tuple[str, ...] = tuple(
    f"{__package__}.figures.{name}:FIGURE"
    for name in (
        "saliency",
        "stages",
        "attention",
        "interaction",
        "owners",
        "given",
        "query",
        "tokens",
        "disturbed",
        "clip",
        "timeline",
        "annotated",
    )
)
ANIMATIONS: tuple[str, ...] = tuple(
    f"{__package__}.animations.{name}:ANIMATION" for name in ("control_values", "stages", "clip")
)
PANELS: tuple[str, ...] = tuple(
    f"{__package__}.panels.{name}:PANEL"
    for name in ("scores", "areas", "objects", "modules", "stages", "clip", "levels", "settings")
)


def all_figures() -> list[FigureKind]:
    """Returns every figure of the table."""
    return [resolve_name(path) for path in FIGURES]


def figures_for(has: Iterable[str]) -> list[FigureKind]:
    """Returns the figures whose needs are met; the first one is the default."""
    return [kind for kind in all_figures() if kind.needs <= frozenset(has)]


def animations_for(has: Iterable[str]) -> list[AnimationKind]:
    """Returns the animations whose needs are met; the first one is the default."""
    return [kind for kind in map(resolve_name, ANIMATIONS) if kind.needs <= frozenset(has)]


def panels_for(has: Iterable[str]) -> list[tuple[str, PanelKind]]:
    """Returns the panels whose needs are met, after the name of their module; only the first of the views."""
    found = [(path.partition(":")[0], resolve_name(path)) for path in PANELS]
    met = [(module, kind) for module, kind in found if kind.needs <= frozenset(has)]
    first = next((kind for _, kind in met if kind.view), None)
    return [(module, kind) for module, kind in met if not kind.view or kind is first]
