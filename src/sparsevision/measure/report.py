"""Measurements as records, JSON and Markdown, each with the machine that they were made on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sparsevision.measure.machine import Machine
from sparsevision.measure.memory import MemoryUse
from sparsevision.measure.speed import Settings, Timing

COLUMNS = ("model", "img/s", "ms (quartiles)", "x peer (90 %)", "memory MB", "params M", "GMACs", "format")


@dataclass(frozen=True)
class BenchmarkRow:
    """Everything measured of one candidate; `memory` and `macs` (of one image) where they were asked for."""

    timing: Timing
    memory: MemoryUse | None = None
    macs: int | None = None


def cells(result: BenchmarkRow) -> tuple[str, ...]:
    """Returns a result as the texts of a table's row, in the order of `COLUMNS`."""
    timing, memory = result.timing, result.memory
    middle, low, high = (1e3 * seconds for seconds in (timing.seconds.value, timing.seconds.low, timing.seconds.high))
    return (
        timing.candidate.label, f"{timing.images_per_second:.1f}", f"{middle:.1f} ({low:.1f}–{high:.1f})",
        "" if timing.speedup is None else str(timing.speedup),
        "" if memory is None else f"{'' if memory.exact else '≥ '}{memory.megabytes:.0f}",
        f"{timing.parameters / 1e6:.1f}", "" if result.macs is None else f"{result.macs / 1e9:.2f}",
        timing.memory_format.replace("_", " "),
    )  # fmt: skip


def as_record(result: BenchmarkRow) -> dict[str, Any]:
    """Returns a result as plain values for JSON."""
    rest = asdict(result)
    timing = rest.pop("timing")
    candidate = timing.pop("candidate")
    workload = candidate.pop("workload")
    derived = {"label": result.timing.candidate.label, "images_per_second": result.timing.images_per_second}
    return {**candidate, **workload, **timing, **rest, **derived}


def as_json(results: Sequence[BenchmarkRow], machine: Machine, settings: Settings, **more: Any) -> str:
    """Returns all results with machine and settings as JSON text; `more` adds entries beside them."""
    records = [as_record(result) for result in results]
    whole = {"machine": asdict(machine), "settings": asdict(settings), "results": records, **more}
    return json.dumps(whole, indent=1)


def as_markdown(results: Sequence[BenchmarkRow], machine: Machine, settings: Settings, *, title: str = "Speed") -> str:
    """Returns one table per workload, in the order in which workloads appear, under a description of the machine."""
    lines = [f"# {title}", "", f"{machine}.", "", f"{how_measured(settings)}", ""]
    workloads = dict.fromkeys(result.timing.candidate.workload for result in results)
    for workload in workloads:
        rows = [cells(result) for result in results if result.timing.candidate.workload == workload]
        lines += [f"## {workload}", "", *markdown_table(COLUMNS, rows), ""]
    return "\n".join(lines)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table; columns that are empty in every row are left out."""
    kept = [i for i, _ in enumerate(columns) if any(row[i] for row in rows)]

    def line(texts: Sequence[str]) -> str:
        return "| " + " | ".join(texts[i] for i in kept) + " |"

    return [line(columns), "|" + "---|" * len(kept), *(line(row) for row in rows)]


def how_measured(settings: Settings) -> str:
    """Returns a sentence or two on how the figures were measured."""
    return (
        f"Random weights; all candidates of a table took turns in one run of {settings.rounds} rounds: medians, with "
        "the quartiles over rounds. Ratios are of medians, with a 90 % bootstrap interval over rounds. Each side in "
        "the memory format that is faster for it, found by a short eager trial. timm's reparameterisable models are "
        "fused before inference. Compiled on a CPU means torch.compile with fixed shapes and inductor's `freezing`. "
        "Memory is the peak above the loaded model, in a process of its own."
    )
