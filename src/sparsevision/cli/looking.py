"""What `explain` and `demo` share: pictures looked at by a model, and what is drawn of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevision.errors import ConfigError, DataError

if TYPE_CHECKING:
    from sparsevision.explain import Look
    from sparsevision.inference import Predictor

# Pictures are drawn at about this many pixels; a camera's are decoded no larger than they need to be.
_DRAWN_SIDE = 720


def pictures_in(given: Iterable[Path]) -> list[Path]:
    """Lists the given files, and the pictures that lie in the given folders."""
    from sparsevision.data.reading import is_picture_name

    found: list[Path] = []
    for path in given:
        if not path.exists():
            raise DataError(f"There is no file or folder {str(path)!r}.")
        inside = sorted(item for item in path.iterdir() if is_picture_name(item)) if path.is_dir() else [path]
        if not inside:
            raise DataError(f"The folder {str(path)!r} holds no pictures.")
        found += inside
    return found


def look_at(predictor: Predictor, paths: Sequence[Path], *, top_k: int = 5) -> list[Look]:
    """Predicts pictures with their traces; those that cannot be read are named on stderr and left out.

    Raises:
        DataError: none could be read.
    """
    from rich.console import Console

    from sparsevision.data.reading import read_picture
    from sparsevision.explain import Look

    results = predictor([*map(str, paths)], top_k=top_k, trace=True)
    for skipped in predictor.skipped:
        Console(stderr=True, highlight=False).print(f"left out: {skipped.reason}", markup=False)
    if not results:
        raise DataError(f"None of the {len(paths)} pictures could be read.")
    return [Look(read_picture(result.name, side=_DRAWN_SIDE), result, predictor.labels) for result in results]


def look_disturbed(predictor: Predictor, look: Look) -> dict[str, Look]:
    """Looks at the erased and padded versions of a picture, too; the original comes first."""
    from sparsevision.explain import DISTURBANCES, Look

    versions = {name: disturb(look.picture) for name, disturb in DISTURBANCES.items()}
    results = predictor([*versions.values()], trace=True)
    pairs = zip(versions.items(), results, strict=True)
    return {"original": look} | {name: Look(version, result, look.classes) for (name, version), result in pairs}


class Drawer:
    """Writes what is asked for of each look into a folder, and remembers which files it wrote."""

    def __init__(self, predictor: Predictor, out: Path, *, radius: float) -> None:
        if not radius > 0:
            raise ConfigError(f"The radius is {radius}; it must be above 0, a fraction of the picture's shorter side.")
        self.predictor, self.out, self.radius = predictor, out, radius
        self.written: list[Path] = []
        self._names: dict[str, int] = {}

    def name_for(self, look: Look) -> str:
        """Returns the beginning of a look's file names: the picture's name, numbered where it comes again."""
        stem = Path(look.result.name).stem
        again = self._names.get(stem, 0)
        self._names[stem] = again + 1
        return f"{stem}-{again + 1}" if again else stem

    def stages(self, look: Look, name: str) -> None:
        """Draws the stages (the paper's Figures 3 and 4)."""
        from sparsevision.explain import save_figure, stages_figure

        self.written.append(save_figure(stages_figure(look, radius=self.radius), self.out / f"{name}-stages.png"))

    def tokens(self, look: Look, name: str, *, label: str | None, count: int) -> None:
        """Draws the tokens that respond most to a class, the predicted one by default (Figure 6)."""
        from sparsevision.explain import save_figure, tokens_figure

        figure = tokens_figure(look, label or look.result.labels[0], count=count)
        self.written.append(save_figure(figure, self.out / f"{name}-tokens.png"))

    def disturbed(self, look: Look, name: str) -> None:
        """Draws what erasing and padding change (Figure 7)."""
        from sparsevision.explain import disturbed_figure, save_figure

        figure = disturbed_figure(look_disturbed(self.predictor, look), radius=self.radius)
        self.written.append(save_figure(figure, self.out / f"{name}-disturbed.png"))

    def gif(self, look: Look, name: str) -> None:
        """Animates the stages."""
        from sparsevision.explain import save_animation

        self.written.append(save_animation(look, self.out / f"{name}.gif"))

    def page(self, looks: Sequence[Look], model: str) -> None:
        """Writes the page about all pictures."""
        from sparsevision.explain import save_page

        self.written.append(save_page(looks, self.out / "page.html", model=model, radius=self.radius))
