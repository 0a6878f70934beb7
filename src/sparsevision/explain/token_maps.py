"""Maps of visual tokens: the cells that each token of each module is a mean of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparsevision.errors import ConfigError
from sparsevision.types import Trace

Floats = NDArray[np.float64]
Kind = Literal["read", "interaction", "given"]


@dataclass(frozen=True, kw_only=True)
class Module:
    """One module's maps (L, H, W) of its tokens, see `types.TokenMaps`; None where it has nothing like it."""

    name: str
    read: Floats | None = None
    interaction: Floats | None = None
    given: Floats | None = None

    @property
    def title(self) -> str:
        """The module's name for people."""
        return self.name.replace(".", " ").replace("_", " ").capitalize()

    @property
    def even(self) -> float:
        """The entropy of a token that is read from all cells alike."""
        return float(np.log(self.any[0].size))

    @property
    def any(self) -> Floats:
        """The first maps that there are."""
        return next(maps for maps in (self.read, self.given, self.interaction) if maps is not None)

    def relative(self, kind: Kind = "read") -> Floats:
        """Returns maps of a kind with 1 where a token is read, or given, as if all cells, or tokens, were alike."""
        maps: Floats | None = getattr(self, kind)
        if maps is None:
            raise ConfigError(f"The tokens of {self.name} have no maps of the kind {kind!r}: omit the figure.")
        return maps * (len(maps) if kind == "given" else maps[0].size)

    def most_given(self) -> NDArray[np.int64]:
        """Returns, for each cell (H, W), the token that it takes most from."""
        if self.given is None:
            raise ConfigError(f"The tokens of {self.name} are given to no cells: omit the figure.")
        return self.given.argmax(axis=0)


def modules_of(trace: Trace, name: str) -> tuple[Module, ...]:
    """Reads the modules from a trace; `name` is the image's, for messages."""
    if not trace.token_maps:
        raise ConfigError(
            f"The trace of {name!r} holds no maps of tokens: this form of the model pools its map without attention."
        )
    return tuple(
        Module(name=name, read=_floats(maps.read), interaction=_floats(maps.interaction), given=_floats(maps.given))
        for name, maps in trace.token_maps.items()
    )


def brightest(maps: Floats) -> float:
    """Returns where a scale of colours ends: 0.5 % of maps may be above it, such as cells at an image's border."""
    return float(np.quantile(maps, 0.995)) or float(maps.max()) or 1.0


def entropy(maps: Floats) -> Floats:
    """Returns how widely each token of maps (L, H, W) is read: -sum A log A in nats (Section 4.4).

    A map that does not sum to one is divided by its sum.
    """
    maps = maps / maps.sum(axis=(1, 2), keepdims=True).clip(min=1e-12)
    logarithms = np.log(np.maximum(maps, np.finfo(np.float64).tiny))
    return np.abs((maps * logarithms).sum(axis=(1, 2)))


def _floats(maps: Tensor | None) -> Floats | None:
    return None if maps is None else np.asarray(maps.double().numpy(), dtype=np.float64)
