"""Measures what this project claims of SparseFormer-T's speed and says of every claim whether it holds.

    python benchmarks/speed_claims.py --threads 2

Each group is one interleaved run, so every ratio is between medians of the same rounds. Status 1 if a claim is missed.
A full run takes about 20 minutes on two idle cores; on a busy machine the figures mean little.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import cyclopts
import torch
from rich.console import Console

from claims import COLUMNS, Claim, Verdict, judge_times, missed, verdict_on_memory
from publishing import publish
from sparsevision.measure.cases import Candidate, Workload
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.memory import measure_memory
from sparsevision.measure.report import how_measured, markdown_table
from sparsevision.measure.speed import Settings, Timing, compare, use_threads

TINY, SWIN, MOBILENET = "sparseformer_tiny", "timm/swin_tiny_patch4_window7_224", "timm/mobilenetv4_conv_medium"
Progress = Callable[[str], None]
_Several = cyclopts.Parameter(consume_multiple=True, negative="")


@dataclass(frozen=True)
class MemoryClaim:
    """`candidate` takes at most `threshold` MB above the model; without one it stands there to be compared with."""

    text: str
    candidate: Candidate
    threshold: float | None = None


def claims_at_224(batch: int) -> list[Claim[Candidate]]:
    load = Workload(224, batch)
    swin, default = Candidate(SWIN, load), Candidate(TINY, load)
    plain = Candidate(TINY, load, path="plain")
    compiled, plain_compiled = Candidate(TINY, load, compiled=True), Candidate(TINY, load, path="plain", compiled=True)
    both = [
        Claim("compiled / plain path", compiled, plain, 1.5),
        Claim("compiled / plain path compiled", compiled, plain_compiled, 1.0),
    ]
    if batch == 1:
        return [Claim("default path / swin_tiny", default, swin, 2.0), *both]
    return [
        Claim("plain path / swin_tiny", plain, swin, 2.1),
        Claim("default path / swin_tiny", default, swin, 2.6),
        *both,
    ]


def claims_at_1024() -> list[Claim[Candidate]]:
    load = Workload(1024, 1)
    default = Candidate(TINY, load)
    return [
        Claim("default path / swin_tiny", default, Candidate(SWIN, load), 12.0),
        Claim("default path / mobilenetv4_conv_medium", default, Candidate(MOBILENET, load), 3.0),
        Claim("default path / plain path", default, Candidate(TINY, load, path="plain"), 2.0),
    ]


def claims_of_training() -> list[Claim[Candidate]]:
    load = Workload(224, 8, work="training")
    return [Claim("default path / plain path", Candidate(TINY, load), Candidate(TINY, load, path="plain"), 1.15)]


GROUPS: dict[str, list[Claim[Candidate]]] = {
    "batch8": claims_at_224(8),
    "batch1": claims_at_224(1),
    "1024px": claims_at_1024(),
    "training": claims_of_training(),
}
MEMORY = [
    MemoryClaim("memory above the model, default path", Candidate(TINY, Workload(1024, 1)), 80),
    MemoryClaim("memory above the model, plain path", Candidate(TINY, Workload(1024, 1), path="plain")),
]


def main(
    *,
    groups: Annotated[list[str] | None, _Several] = None,
    rounds: int = 15,
    threads: int = 2,
    out: Path = Path("benchmarks/results"),
) -> int:
    """Run the groups (batch8, batch1, 1024px with memory, training; default: all), print and write the verdicts."""
    chosen = groups or list(GROUPS)
    unknown = set(chosen) - set(GROUPS)
    if unknown:
        raise SystemExit(f"There is no group {sorted(unknown)}; there are {list(GROUPS)}.")
    settings, verdicts, records = Settings(rounds=rounds), [], []
    with use_threads(threads), Console(stderr=True).status("starting") as status:
        machine = describe_machine()
        for name in chosen:
            timings = measure(GROUPS[name], settings, lambda text, name=name: status.update(f"{name}: {text}"))
            verdicts += judge_times(name, GROUPS[name], {timing.candidate: timing.rounds for timing in timings})
            records += [asdict(timing) for timing in timings]
            if name == "1024px":
                status.update("1024px: memory")
                verdicts += judge_memory(timings, threads)
    text = "\n".join(
        [
            "# Claims about speed",
            "",
            f"{machine}.",
            "",
            how_measured(settings),
            "",
            *markdown_table(COLUMNS, verdicts),
            "",
        ]
    )
    whole = {"machine": asdict(machine), "verdicts": verdicts, "timings": records}
    publish(out, "speed_claims", text, whole)
    return missed(verdicts)


def measure(claims: Sequence[Claim[Candidate]], settings: Settings, progress: Progress) -> list[Timing]:
    """Times every candidate that a group's claims name, once, in one interleaved run."""
    candidates = list(dict.fromkeys(side for claim in claims for side in (claim.slow, claim.fast)))
    return compare(candidates, settings, progress=progress)


def judge_memory(timings: Sequence[Timing], threads: int) -> list[Verdict]:
    """Measures memory in the format in which each candidate was timed."""
    formats = {timing.candidate: timing.memory_format for timing in timings}
    found = []
    for claim in MEMORY:
        layout = formats[claim.candidate]
        use = measure_memory(claim.candidate, layout, threads=threads)
        figure = f"{use.megabytes:.0f} MB ({layout.replace('_', ' ')})"
        if claim.threshold is None:
            found.append(Verdict("1024px", claim.text, figure, "none", "for comparison"))
            continue
        verdict = verdict_on_memory(use.megabytes, claim.threshold)
        found.append(Verdict("1024px", claim.text, figure, f"<= {claim.threshold:.0f} MB", verdict))
    return found


if __name__ == "__main__":
    torch.manual_seed(0)
    sys.exit(cyclopts.App(default_command=main)(result_action="return_value"))
