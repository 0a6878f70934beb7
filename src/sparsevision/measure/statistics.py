"""Medians, quartiles and ratios of times, with how far chance alone could have moved them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """A figure with an interval around it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f}–{self.high:.2f})"


def median_and_quartiles(times: Sequence[float]) -> Spread:
    """Returns the median with the lower and the upper quartile."""
    low, middle, high = np.quantile(np.asarray(times, dtype=np.float64), [0.25, 0.5, 0.75])
    return Spread(float(middle), float(low), float(high))


def ratio_of_medians(
    above: Sequence[float], below: Sequence[float], *, resamples: int = 2000, coverage: float = 0.9, seed: int = 0
) -> Spread:
    """Returns median(above) / median(below) with a bootstrap interval.

    The two belong to the same interleaved rounds, so rounds are drawn as pairs: what slowed a whole round slowed both.
    """
    if len(above) != len(below):
        raise ValueError(f"times of the same rounds are expected, got {len(above)} and {len(below)}")
    pairs = np.stack([np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)])
    drawn = np.random.default_rng(seed).integers(pairs.shape[1], size=(resamples, pairs.shape[1]))
    medians = np.median(pairs[:, drawn], axis=2)
    tail = (1 - coverage) / 2
    low, high = np.quantile(medians[0] / medians[1], [tail, 1 - tail])
    middle = np.median(pairs[0]) / np.median(pairs[1])
    return Spread(float(middle), float(low), float(high))
