"""What is claimed of speed, and whether figures bear it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from sparsevision.measure.statistics import Spread

COLUMNS = ("group", "claim", "figure (90 %)", "threshold", "verdict")
C = TypeVar("C")


@dataclass(frozen=True)
class Claim(Generic[C]):
    """`fast` is at least `threshold` times as fast as `slow`; both are candidates of one group."""

    text: str
    fast: C
    slow: C
    threshold: float


def verdict_of(ratio: Spread, threshold: float) -> str:
    """A figure below its threshold, but not beyond what chance explains, is neither met nor missed."""
    if ratio.value >= threshold:
        return "met"
    return "within chance" if ratio.high >= threshold else "MISSED"
