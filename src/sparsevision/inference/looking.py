"""Pictures looked at by a model, and what is drawn of them: a Predictor and the `explain` room put together."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sparsevision.data.reading import read_picture
from sparsevision.errors import ConfigError, naming
from sparsevision.explain import (
    DISTURBANCES,
    Look,
    disturbed_figure,
    save_animation,
    save_figure,
    save_page,
    stages_figure,
    tokens_figure,
)
from sparsevision.inference.finding import find_pictures
from sparsevision.inference.predictor import Predictor
from sparsevision.types import Skipped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FigureKind = Literal["stages", "tokens", "disturbed", "all", "none"]

# Pictures are drawn at about this many pixels; a camera's are decoded no larger than they need to be.
_DRAWN_SIDE = 720


def look_at(predictor: Predictor, sources: Iterable[str], *, top_k: int = 5) -> Iterator[Look]:
    """Predicts pictures with their traces, one batch after another, and yields what there is to draw of each.

    Args:
        predictor: its `skipped` lists, once the last look is taken, what could not be found or read.
        sources: files, folders, patterns, or "-" for a list of paths on standard input.
        top_k: how many classes a result names.
    """
    missing: list[Skipped] = []
    for result in predictor.stream(find_pictures(sources, sys.stdin.buffer, missing), top_k=top_k, trace=True):
        yield Look(read_picture(result.name, side=_DRAWN_SIDE), result, predictor.labels)
    predictor.skipped = missing + predictor.skipped


def look_disturbed(predictor: Predictor, look: Look) -> dict[str, Look]:
    """Looks at the erased and padded versions of a picture, too; the original comes first."""
    versions = {name: disturb(look.picture) for name, disturb in DISTURBANCES.items()}
    results = predictor([*versions.values()], trace=True)
    pairs = zip(versions.items(), results, strict=True)
    return {"original": look} | {name: Look(version, result, look.classes) for (name, version), result in pairs}


class Drawer:
    """Writes what is asked for of each look into a folder, and remembers in `written` which files it wrote.

    `radius` is the density's, a fraction of the picture's shorter side.
    """

    def __init__(self, predictor: Predictor, out: Path, *, radius: float = 0.05) -> None:
        if not 0 < radius <= 1:
            raise ConfigError(
                f"The radius is {radius}; it must be above 0 and at most 1, a fraction of the picture's shorter side."
            )
        self.predictor, self.out, self.radius = predictor, out, radius
        self.written: list[Path] = []
        self._names: Counter[str] = Counter()

    def draw(self, look: Look, *, figure: FigureKind, gif: bool, label: str | None = None, top_tokens: int = 5) -> None:
        """Draws one picture's figures and animation.

        "stages" is the paper's Figures 3 and 4; "tokens" Figure 6, for a label or the predicted class; "disturbed"
        Figure 7.
        """
        name = self._name_for(look)
        figures: dict[str, Callable[[], Figure]] = {
            "stages": lambda: stages_figure(look, radius=self.radius),
            "tokens": lambda: tokens_figure(look, label or _predicted(look), count=top_tokens),
            "disturbed": lambda: disturbed_figure(look_disturbed(self.predictor, look), radius=self.radius),
        }
        for kind, make in figures.items():
            if figure in (kind, "all"):
                path = self.out / f"{name}-{kind}.png"
                with naming(path):
                    self.written.append(save_figure(make(), path))
        if gif:
            path = self.out / f"{name}.gif"
            with naming(path):
                self.written.append(save_animation(look, path))

    def page(self, looks: Sequence[Look], model: str) -> None:
        """Writes the page about all pictures."""
        path = self.out / "page.html"
        with naming(path):
            self.written.append(save_page(looks, path, model=model, radius=self.radius))

    def _name_for(self, look: Look) -> str:
        """Returns the beginning of a look's file names: the picture's name, numbered where it comes again."""
        stem = Path(look.result.name).stem
        self._names[stem] += 1
        return stem if self._names[stem] == 1 else f"{stem}-{self._names[stem]}"


def _predicted(look: Look) -> str:
    if not look.result.labels:
        raise ConfigError("The model gives an embedding and no classes, so no tokens respond to one: draw the stages.")
    return look.result.labels[0]
