"""The tables of figures, animations and panels: dotted paths ("module:object"), imported when they are used.

A way to explain is one file and one line here. It is offered wherever an explanation has what it needs; of several
figures, the first one is the default.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, Protocol, TypeVar

from .kinds import AnimationKind, FigureKind, PanelKind

FIGURES: tuple[str, ...] = (
    "sparsevision.explain.figures.saliency:FIGURE",
    "sparsevision.explain.figures.stages:FIGURE",
    "sparsevision.explain.figures.attention:FIGURE",
    "sparsevision.explain.figures.interaction:FIGURE",
    "sparsevision.explain.figures.query:FIGURE",
    "sparsevision.explain.figures.tokens:FIGURE",
    "sparsevision.explain.figures.disturbed:FIGURE",
    "sparsevision.explain.figures.annotated:FIGURE",
)
ANIMATIONS: tuple[str, ...] = (
    "sparsevision.explain.animations.control_values:ANIMATION",
    "sparsevision.explain.animations.stages:ANIMATION",
)
PANELS: tuple[str, ...] = (
    "sparsevision.explain.panels.scores:PANEL",
    "sparsevision.explain.panels.objects:PANEL",
    "sparsevision.explain.panels.stages:PANEL",
    "sparsevision.explain.panels.modules:PANEL",
    "sparsevision.explain.panels.levels:PANEL",
    "sparsevision.explain.panels.settings:PANEL",
)


class _Needing(Protocol):
    @property
    def needs(self) -> frozenset[str]: ...


K = TypeVar("K", bound=_Needing)


def all_figures() -> list[FigureKind]:
    """Returns every figure of the table."""
    return [_imported(path) for path in FIGURES]


def figures_for(has: Iterable[str]) -> list[FigureKind]:
    """Returns the figures whose needs are met; the first one is the default."""
    return _met(all_figures(), has)


def animations_for(has: Iterable[str]) -> list[AnimationKind]:
    """Returns the animations whose needs are met; the first one is the default."""
    return _met([_imported(path) for path in ANIMATIONS], has)


def panels_for(has: Iterable[str]) -> list[tuple[str, PanelKind]]:
    """Returns the panels whose needs are met, after the name of their module; the first view stands for all."""
    modules = [path.partition(":")[0] for path in PANELS]
    kinds = [_imported(path) for path in PANELS]
    met: list[PanelKind] = _met(kinds, has)
    views = [kind for kind in met if kind.view]
    return [
        (module, kind) for module, kind in zip(modules, kinds, strict=True) if kind in met and kind not in views[1:]
    ]


def _imported(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


def _met(kinds: Sequence[K], has: Iterable[str]) -> list[K]:
    there = frozenset(has)
    return [kind for kind in kinds if kind.needs <= there]
