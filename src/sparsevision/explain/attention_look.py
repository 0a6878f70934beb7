"""A picture beside what a classifier of visual tokens said of it, and where each token was read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsevision.errors import ConfigError
from sparsevision.types import Heat

from .look import Floats, Look, titled

INTERACTION = ".interaction"


@dataclass(frozen=True)
class TokenMaps:
    """One module: `maps` (L, H, W), over whose cells each token is a weighted mean; each map sums to one.

    `interaction` (L, H, W) weighs, for each token, the maps of those that it listened to; None where tokens do not
    attend to each other.
    """

    name: str
    maps: Floats
    interaction: Floats | None = None

    @property
    def title(self) -> str:
        """The module's name for people."""
        return titled(self.name)

    @property
    def even(self) -> float:
        """The entropy of a token that is read from all cells alike."""
        return float(np.log(self.maps[0].size))

    def relative(self, *, interaction: bool = False) -> Floats:
        """Returns the maps, or those of interaction, with 1 where a token is read as if from all cells alike."""
        maps = self.interaction if interaction else self.maps
        if maps is None:
            raise ConfigError(
                f"The tokens of {self.name} do not attend to each other: there is no interaction to draw."
            )
        return maps * self.maps[0].size


@dataclass(frozen=True)
class AttentionLook(Look):
    """What is drawn of a classifier whose trace holds each token's attention over the picture."""

    @cached_property
    def modules(self) -> tuple[TokenMaps, ...]:
        """The modules that made tokens, in the model's order."""
        heat = self.trace.heat
        names = modules_in(heat)
        if not names:
            raise ConfigError(
                f"The trace of {self.result.name!r} does not say where tokens were read: this form of the model pools "
                "the map without attention."
            )
        return tuple(TokenMaps(name, _maps(heat[name]), _interaction(heat.get(name + INTERACTION))) for name in names)

    @property
    def num_tokens(self) -> int:
        """How many tokens the first module has."""
        return len(self.modules[0].maps)


def entropy(maps: Floats) -> Floats:
    """Says how widely each token of maps (L, H, W) is read: -sum A log A in nats (Section 4.4)."""
    logarithms = np.log(np.maximum(maps, np.finfo(np.float64).tiny))
    return np.abs((maps * logarithms).sum(axis=(1, 2)))


def modules_in(heat: Iterable[str]) -> list[str]:
    """Picks the modules' own maps from the names of a trace's heat."""
    return [name for name in heat if not name.endswith(INTERACTION)]


def _maps(heat: Heat) -> Floats:
    return np.asarray(heat.values[0].double().numpy(), dtype=np.float64)


def _interaction(heat: Heat | None) -> Floats | None:
    return None if heat is None else _maps(heat)
