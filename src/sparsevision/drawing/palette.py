"""Colours for tokens: as different from each other as a dimmed photograph and colour-blind eyes allow."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sparsevision.errors import ConfigError

Floats = NDArray[np.float64]

# Machado, Oliveira & Fernandes 2009, severity 1: how linear RGB looks to protanopes and deuteranopes.
_PROTAN = np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]])
_DEUTAN = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])
# Ottosson 2020: linear RGB to cone responses, their cube roots to OKLab, where distances are about perceptual.
_CONES = np.array([
    [0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
])  # fmt: skip
_OKLAB = np.array([
    [0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
])  # fmt: skip
# Lightness and chroma: darker colours sink into the dimmed image, greyer ones look like parts of it, purer ones glare.
_LOWEST, _HIGHEST = (0.66, 0.08), (0.95, 0.24)
MOST_COLOURS = 512


def token_colours(count: int) -> Floats:
    """Returns (count, 3) sRGB colours in 0..1; the first ones do not change when more are asked for.

    Each next colour is the one farthest from all before it, in OKLab, to normal, protan and deutan eyes together.
    After the 512th they repeat.
    """
    if count < 0:
        raise ConfigError(f"Received {count} tokens to colour; expected 0 or more.")
    return _farthest_first()[np.arange(count) % MOST_COLOURS]


def hexadecimal(colours: Floats) -> list[str]:
    """Writes (N, 3) sRGB colours as '#rrggbb'."""
    return ["#{:02x}{:02x}{:02x}".format(*(round(255 * float(value)) for value in colour)) for colour in colours]


@lru_cache(maxsize=1)
def _farthest_first() -> Floats:
    steps = np.linspace(0.0, 1.0, 18)
    candidates = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    linear = _linear(candidates)
    seen = _oklab(linear)
    measured = np.stack([seen[:, 0], np.hypot(seen[:, 1], seen[:, 2])], axis=1)
    usable = ((measured > _LOWEST) & (measured < _HIGHEST)).all(axis=1)
    candidates, linear, seen = candidates[usable], linear[usable], seen[usable]
    views = np.concatenate([seen, *(_oklab(np.clip(linear @ m.T, 0, 1)) for m in (_PROTAN, _DEUTAN))], 1)
    chosen = [int(np.argmin(np.linalg.norm(candidates - [1.0, 0.72, 0.0], axis=1)))]
    nearest = np.full(len(views), np.inf)
    for _ in range(MOST_COLOURS - 1):
        nearest = np.minimum(nearest, np.linalg.norm(views - views[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(nearest)))
    return candidates[chosen]


def _linear(rgb: Floats) -> Floats:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _oklab(linear: Floats) -> Floats:
    return np.asarray(np.cbrt(linear @ _CONES.T) @ _OKLAB.T)
