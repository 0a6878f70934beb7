"""What is claimed of speed, and whether figures bear it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from sparsevision.measure.speed import Spread, median_and_quartiles, ratio_of_medians

COLUMNS = ("group", "claim", "figure (90 %)", "threshold", "verdict")
C = TypeVar("C")


class Verdict(NamedTuple):
    """A claim of a group, the figure that was measured, what it had to be, and whether it was; a row of `COLUMNS`."""

    group: str
    claim: str
    figure: str
    threshold: str
    verdict: str


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


def verdict_on_memory(megabytes: float, most: float) -> str:
    """Memory is measured without chance: it is within its bound or not."""
    return "met" if megabytes <= most else "MISSED"


def judge_times(group: str, claims: Sequence[Claim[C]], times: Mapping[C, Sequence[float]]) -> list[Verdict]:
    """Holds the seconds of each round of a group's candidates against its claims."""
    found = []
    for claim in claims:
        ratio = ratio_of_medians(times[claim.slow], times[claim.fast])
        least = f">= {claim.threshold:.2f}x"
        found.append(Verdict(group, claim.text, f"{ratio}x", least, verdict_of(ratio, claim.threshold)))
    return found


def missed(verdicts: Sequence[Verdict]) -> int:
    """Returns the exit status: 1 if a claim was missed."""
    return int(any(verdict.verdict == "MISSED" for verdict in verdicts))


def milliseconds(seconds: Sequence[float]) -> str:
    """Writes the median, and the quartiles over rounds."""
    spread = median_and_quartiles(seconds)
    return f"{spread.value * 1e3:.1f} ({spread.low * 1e3:.1f}–{spread.high * 1e3:.1f})"
