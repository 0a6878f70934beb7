"""Explanations written into a folder: figures, animations and a page, as far as their needs are met."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsevision.errors import ConfigError, UnknownNameError
from sparsevision.files import OutputFolder

from .control_sweep import ControlSweep
from .explanation import Explanation
from .gif import save_animation, save_video
from .kinds import FigureKind, Kind, NothingToDrawError
from .page import save_page
from .registry import all_figures, animations_for, figures_for, panels_for
from .sheet import save_figure


class ExplanationWriter:
    """Writes figures and animations of explanations into a folder, named after the images.

    Args:
        out: the folder; `written` lists the files, in their order.
        figure: a name of the table of figures, "all" or "none"; by default the first figure that can be drawn and
            takes the `options` of figures.
        animate: write a GIF for each image, too.
        page: collect the explanations for `write_page`.
        command: what writes here: a later run of the same command replaces its files and no others.
        overwrite, inputs: see `OutputFolder`.
    """

    PAGE = "page.html"

    def __init__(
        self, out: Path, *, figure: str | None = None, options: Mapping[str, Any] | None = None, animate: bool = False,
        page: bool = False, command: str = "explain", overwrite: bool = False, inputs: Iterable[str] = (),
    ) -> None:  # fmt: skip
        self.figure, self.options = figure, dict(options or {})
        self.animate, self.page = animate, page
        self.written: list[Path] = []
        self._sweeps: list[ControlSweep] = []
        known = [kind.name for kind in all_figures()]
        if figure not in (None, "all", "none", *known):
            raise UnknownNameError("figure", str(figure), [*known, "all", "none"])
        self._folder = OutputFolder(out, command, overwrite=overwrite, inputs=inputs)
        self._endings = (".gif", ".mp4", *(f"-{name}.png" for name in known))
        if page:
            self._folder.check(self.PAGE)

    def write(self, explained: Explanation | ControlSweep) -> None:
        """Writes the figures of one image, with the control's own value, and the animation.

        Raises ConfigError if their needs are not met, or if no figure that is drawn takes an option.
        """
        sweep = explained if isinstance(explained, ControlSweep) else ControlSweep(explanations=(explained,))
        explanation = sweep.own
        kinds = self._chosen(explanation)
        self._check_options(kinds, sweep)
        animations = animations_for(sweep.has) if self.animate else []
        if self.animate and not animations:
            raise ConfigError(f"No animation shows what the model records of {sweep.result.name!r}: omit --gif.")
        stem = self._folder.stem(explanation.result.name, self._endings)
        for kind in kinds:
            self._write_figure(kind, explanation, f"{stem}-{kind.name}.png")
        for animation in animations[:1]:
            drawn = animation.draw(sweep)
            with self._folder.writing(f"{stem}.gif") as path:
                self.written.append(save_animation(drawn, path))
            if animation.video:
                with self._folder.writing(f"{stem}.mp4") as path:
                    self.written.append(save_video(drawn, path))
        if self.page:
            self._sweeps.append(sweep)

    def write_page(self) -> None:
        """Writes the page about all images that were written with `page`."""
        with self._folder.writing(self.PAGE) as path:
            self.written.append(save_page(self._sweeps, path, options=self.options))

    def _chosen(self, explanation: Explanation) -> list[FigureKind]:
        """Returns the figures to draw."""
        offered = figures_for(explanation.has)
        if self.figure is None:
            return ([kind for kind in offered if kind.own(self.options) == self.options] or offered)[:1]
        chosen = [kind for kind in offered if self.figure in ("all", kind.name)]
        if not chosen and self.figure != "none":
            names = ", ".join(kind.name for kind in offered)
            raise ConfigError(
                f"The model records nothing for the figure {self.figure!r}: choose from {names}, or where it is an "
                "exported file, export it with --trace."
            )
        return chosen

    def _check_options(self, chosen: Sequence[FigureKind], sweep: ControlSweep) -> None:
        """Raises ConfigError for an option that nothing written takes."""
        panels: list[Kind] = [panel for _, panel in panels_for(sweep.has)] if self.page else []
        taken = set().union(*(kind.own(self.options) for kind in (*chosen, *panels)))
        for option in self.options.keys() - taken:
            owners = [kind.name for kind in all_figures() if option in kind.own(self.options)]
            offered, flag = ", ".join(kind.name for kind in figures_for(sweep.has)), "--" + option.replace("_", "-")
            raise ConfigError(
                f"{flag} belongs to the figures {', '.join(owners)}, of which none is drawn: omit it, "
                f"or choose a figure from {offered}."
            )

    def _write_figure(self, kind: FigureKind, explanation: Explanation, name: str) -> None:
        own = kind.own(self.options)
        try:
            with self._folder.writing(name) as path:
                self.written.append(save_figure(kind.draw(explanation, **own), path))
        except NothingToDrawError:
            if self.figure != "all" or own:
                raise
