"""Declarations of figures, animations and panels: the data that each needs, and its own options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparsevision.errors import ConfigError
from sparsevision.types import Option

from .control_sweep import ControlSweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


class NothingToDrawError(ConfigError):
    """A figure's needs are met, and this image has nothing for it, as a query to follow where no object was found."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Something that can be made of any explanation that has what it `needs`, with `options` of its own."""

    name: str
    needs: frozenset[str] = frozenset()
    options: tuple[Option, ...] = ()

    def own(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Returns those of the options that this kind declares."""
        declared = {option.name for option in self.options}
        return {name: value for name, value in options.items() if name in declared}


@dataclass(frozen=True, kw_only=True)
class FigureKind(Kind):
    """A figure: `draw(explanation, **options)` takes its declared options by name, each of which has a default."""

    description: str
    draw: Callable[..., Figure]


@dataclass(frozen=True, kw_only=True)
class Animation:
    """Frames with the milliseconds that each is shown; a `palette` image for all of them."""

    frames: Sequence[Image]
    durations: Sequence[int]
    palette: Image


@dataclass(frozen=True, kw_only=True)
class AnimationKind(Kind):
    """An animation of any sweep (of one value or more) that has what it `needs`; with `video`, written as MP4, too."""

    description: str
    draw: Callable[[ControlSweep], Animation]
    video: bool = False


@dataclass(frozen=True, kw_only=True)
class PanelKind(Kind):
    """A part of the page.

    `content(explanation, **options)` becomes the panel's data in the page, for each run of a sweep. Markup, style and
    script are the file `<name>.html` beside the module; the script calls `page.panel(name, handlers)`. Of the panels
    that are a `view` of the image, which the slider steps through, a page has the first one alone. A panel stands at
    the image's side, or `below` it.
    """

    content: Callable[..., dict[str, Any]]
    view: bool = False
    below: bool = False
