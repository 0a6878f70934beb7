"""What is claimed of speed, and whether figures bear it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sparsevision.measure.statistics import Spread, median_and_quartiles, ratio_of_medians

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


def judge_times(
    group: str, claims: Sequence[Claim[str]], times: Mapping[str, Sequence[float]]
) -> list[tuple[str, ...]]:
    """Holds the seconds of each round of a group's candidates against its claims: a row of `COLUMNS` for each."""
    rows = []
    for claim in claims:
        ratio = ratio_of_medians(times[claim.slow], times[claim.fast])
        least = f">= {claim.threshold:.2f}x"
        rows.append((group, claim.text, f"{ratio}x", least, verdict_of(ratio, claim.threshold)))
    return rows


def milliseconds(seconds: Sequence[float]) -> str:
    """Writes the median, and the quartiles over rounds."""
    spread = median_and_quartiles(seconds)
    return f"{spread.value * 1e3:.1f} ({spread.low * 1e3:.1f}–{spread.high * 1e3:.1f})"
