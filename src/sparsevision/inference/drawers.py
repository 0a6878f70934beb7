"""What is drawn of looks, written into a folder: figures, animations and a page, for classifiers and for detectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sparsevision.errors import ConfigError, naming
from sparsevision.explain import (
    AttentionLook,
    Look,
    Sweep,
    attention_figure,
    detections_figure,
    disturbed_figure,
    query_figure,
    saliency_figure,
    save_animation,
    save_attention_page,
    save_detection_page,
    save_figure,
    save_page,
    save_sweep_animation,
    stages_figure,
    tokens_figure,
)
from sparsevision.inference.looking import look_disturbed
from sparsevision.inference.predictor import Predictor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FigureKind = Literal["stages", "tokens", "disturbed", "all", "none"]
AttentionFigureKind = Literal["attention", "interaction", "all", "none"]
DetectionFigureKind = Literal["detections", "saliency", "query", "all", "none"]


class _Drawer:
    """Writes into a folder, under the names of the pictures; `written` lists the files in their order."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.written: list[Path] = []
        self._names: Counter[str] = Counter()

    def _name_for(self, look: Look) -> str:
        """Returns the beginning of a look's file names: the picture's name, numbered where it comes again."""
        stem = Path(look.result.name).stem
        self._names[stem] += 1
        return stem if self._names[stem] == 1 else f"{stem}-{self._names[stem]}"

    def _save_figures(self, name: str, wanted: str, figures: Mapping[str, Callable[[], Figure]]) -> None:
        """Makes and writes the figure of the kind that is wanted, or "all"."""
        for kind, make in figures.items():
            if wanted in (kind, "all"):
                self._save(f"{name}-{kind}.png", partial(_save_made, make))

    def _save(self, name: str, write: Callable[[Path], Path]) -> None:
        """Writes one file; what goes wrong names it."""
        path = self.out / name
        with naming(path):
            self.written.append(write(path))


class Drawer(_Drawer):
    """Writes what is asked for of each look of a classifier into a folder; `written` lists the files.

    `radius` is the density's, a fraction of the picture's shorter side.
    """

    def __init__(self, predictor: Predictor, out: Path, *, radius: float = 0.05) -> None:
        if not 0 < radius <= 1:
            raise ConfigError(
                f"The radius is {radius}; it must be above 0 and at most 1, a fraction of the picture's shorter side."
            )
        super().__init__(out)
        self.predictor, self.radius = predictor, radius

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
        self._save_figures(name, figure, figures)
        if gif:
            self._save(f"{name}.gif", lambda path: save_animation(look, path))

    def page(self, looks: Sequence[Look], model: str) -> None:
        """Writes the page about all pictures."""
        self._save("page.html", lambda path: save_page(looks, path, model=model, radius=self.radius))


class AttentionDrawer(_Drawer):
    """Writes what is asked for of each look of a classifier of visual tokens; `written` lists the files."""

    def draw(self, look: AttentionLook, *, figure: AttentionFigureKind) -> None:
        """Draws one picture's figures: where each token was read, and where those that it listened to were.

        Raises:
            ConfigError: the tokens do not attend to each other. "all" then leaves the interaction out.
        """
        figures: dict[str, Callable[[], Figure]] = {"attention": lambda: attention_figure(look)}
        if figure != "all" or all(module.interaction is not None for module in look.modules):
            figures["interaction"] = lambda: attention_figure(look, interaction=True)
        self._save_figures(self._name_for(look), figure, figures)

    def page(self, looks: Sequence[AttentionLook], model: str) -> None:
        """Writes the page about all pictures."""
        self._save("page.html", lambda path: save_attention_page(looks, path, model=model))


class DetectionDrawer(_Drawer):
    """Writes what is asked for of each look of a detector into a folder; `written` lists the files."""

    def draw(self, sweep: Sweep, *, figure: DetectionFigureKind, gif: bool = False, number: int | None = None) -> None:
        """Draws one picture's figures, with the control's own value, and the animation over all of its values.

        "detections" is what was found; "saliency" which tokens were updated, beside what the decoder read (DAM);
        "query" where the query of the object with this number sampled, 1 being the best.

        Raises:
            ConfigError: there is no such object. Without a number, "all" leaves the query out where nothing was found.
        """
        look = sweep.own
        name = self._name_for(look)
        figures: dict[str, Callable[[], Figure]] = {
            "detections": lambda: detections_figure(look),
            "saliency": lambda: saliency_figure(look),
        }
        if figure != "all" or number is not None or look.result.boxes:
            figures["query"] = lambda: query_figure(look, number or 1)
        self._save_figures(name, figure, figures)
        if gif:
            self._save(f"{name}.gif", lambda path: save_sweep_animation(sweep, path))

    def page(self, sweeps: Sequence[Sweep], model: str) -> None:
        """Writes the page about all pictures."""
        self._save("page.html", lambda path: save_detection_page(sweeps, path, model=model))


def _save_made(make: Callable[[], Figure], path: Path) -> Path:
    return save_figure(make(), path)


def _predicted(look: Look) -> str:
    if not look.result.labels:
        raise ConfigError("The model gives an embedding and no classes, so no tokens respond to one: draw the stages.")
    return look.result.labels[0]
