"""Maps of visual tokens: the cells that each token of each module is a mean of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparsevision.errors import ConfigError
from sparsevision.types import Trace

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Module:
    """One module: `read` (L, H, W), over whose cells each token is a weighted mean; each map sums to one.

    `interaction` (L, H, W) weights, for each token, the maps of those that it attends to; None where tokens do not
    attend to each other.
    """

    name: str
    read: Floats
    interaction: Floats | None = None

    @property
    def title(self) -> str:
        """The module's name for people."""
        return self.name.replace(".", " ").replace("_", " ").capitalize()

    @property
    def even(self) -> float:
        """The entropy of a token that is read from all cells alike."""
        return float(np.log(self.read[0].size))

    def relative(self, *, interaction: bool = False) -> Floats:
        """Returns the maps, or those of interaction, with 1 where a token is read as if from all cells alike."""
        maps = self.interaction if interaction else self.read
        if maps is None:
            raise ConfigError(f"The tokens of {self.name} do not attend to each other: omit the interaction.")
        return maps * self.read[0].size


def modules_of(trace: Trace, name: str) -> tuple[Module, ...]:
    """Reads the modules from a trace; `name` is the image's, for messages."""
    if not trace.token_maps:
        raise ConfigError(
            f"The trace of {name!r} holds no maps of tokens: this form of the model pools its map without attention."
        )
    found = ((module, maps.read, maps.interaction) for module, maps in trace.token_maps.items())
    return tuple(
        Module(name=module, read=_floats(read), interaction=None if other is None else _floats(other))
        for module, read, other in found
    )


def entropy(maps: Floats) -> Floats:
    """Returns how widely each token of maps (L, H, W) is read: -sum A log A in nats (Section 4.4)."""
    logarithms = np.log(np.maximum(maps, np.finfo(np.float64).tiny))
    return np.abs((maps * logarithms).sum(axis=(1, 2)))


def _floats(maps: Tensor) -> Floats:
    return np.asarray(maps.double().numpy(), dtype=np.float64)
