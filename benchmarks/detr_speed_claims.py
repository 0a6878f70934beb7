"""Measures what this project claims of the detectors' speed on a CPU and says of every claim whether it holds.

    python benchmarks/detr_speed_claims.py --threads 2

Deformable attention and whole models with a ResNet-50, one image of 800x1066, against transformers' own in fp32. Each
group is one interleaved run, so every ratio is between medians of the same rounds. Status 1 if a claim is missed.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import torch
from rich.console import Console
from torch import Tensor

from claims import COLUMNS, Claim, Verdict, judge_times, milliseconds, missed, verdict_on_memory
from publishing import publish
from sparsevision.factory import create_model
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.memory import MemoryUse, peak_growth
from sparsevision.measure.report import markdown_table
from sparsevision.measure.speed import Settings, time_interleaved, use_threads
from sparsevision.models.sparse_detr.deformable import sample_levels
from sparsevision.packing import pack_weights

Call = Callable[[], object]
SIDES = (800, 1066)
SHAPES = [(100, 134), (50, 67), (25, 34), (13, 17)]
HEADS, CHANNELS, POINTS, ALL_QUERIES = 8, 32, 4, 17_821
THEIRS, DENSE, SPARSE = "transformers", "deformable_detr_r50", "sparse_detr_r50_10"
TIMES = ("group", "candidate", "ms (quartiles)", "peak memory MB")
HOW = (
    "Random weights; the candidates of a group took turns in one run of {rounds} rounds: medians, with the quartiles "
    "over rounds. Ratios are of medians, with a 90 % bootstrap interval over rounds. Memory is the peak above the "
    "model and its inputs, in a process of its own. Our models run as `predict` runs them, with packed linear layers."
)
_Several = cyclopts.Parameter(consume_multiple=True, negative="")


@dataclass(frozen=True)
class Group:
    """Candidates by name, each a function that makes what is timed, and the claims about them."""

    candidates: Mapping[str, Callable[[], Call]]
    claims: tuple[Claim[str], ...]
    most_megabytes: Mapping[str, float]


def draw(queries: int, *, learns: bool) -> list[Tensor]:
    """Draws values, locations (some outside) and weights, as an encoder of an image has them."""
    random = torch.Generator().manual_seed(0)
    values = torch.randn(1, ALL_QUERIES, HEADS, CHANNELS, generator=random)
    locations = torch.rand(1, queries, HEADS, len(SHAPES), POINTS, 2, generator=random) * 1.1 - 0.05
    weights = torch.rand(1, queries, HEADS, len(SHAPES) * POINTS, generator=random).softmax(dim=-1)
    weights = weights.unflatten(-1, (len(SHAPES), POINTS))
    return [tensor.requires_grad_(learns) for tensor in (values, locations, weights)]


def operator(form: str, queries: int, *, learns: bool = False) -> Call:
    """Makes a call of deformable attention's core in one of the forms, with its backward pass if it `learns`."""
    inputs = draw(queries, learns=learns)
    read = (
        functools.partial(their_core(), *inputs)
        if form == THEIRS
        else lambda: sample_levels(inputs[0], SHAPES, *inputs[1:])
    )

    def forwards() -> object:
        with torch.no_grad():
            return read()

    def both_ways() -> object:
        return torch.autograd.grad(read().sum(), inputs)

    return both_ways if learns else forwards


def their_core() -> Callable[..., Tensor]:
    """Returns transformers' own core as a function of values, locations and weights."""
    from transformers.models.deformable_detr.modeling_deformable_detr import MultiScaleDeformableAttention

    core, shapes = MultiScaleDeformableAttention(), torch.tensor(SHAPES)
    tokens = shapes.prod(dim=1)
    starts = tokens.cumsum(dim=0) - tokens
    return lambda values, locations, weights: core(values, shapes, SHAPES, starts, locations, weights, 64)


def detector(name: str) -> Call:
    """Makes a whole model's call on one image."""
    torch.manual_seed(0)
    images = torch.rand(1, 3, *SIDES)
    if name == THEIRS:
        from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection

        model: Any = DeformableDetrForObjectDetection(
            DeformableDetrConfig(use_pretrained_backbone=False, num_labels=91)
        )
    else:
        model = create_model(name)
    model.eval()
    if name != THEIRS:
        pack_weights(model)

    def detect() -> object:
        with torch.inference_mode():
            return model(images)

    return detect


def of_operator(queries: int, threshold: float, *, learns: bool = False, most: float | None = None) -> Group:
    candidates = {form: functools.partial(operator, form, queries, learns=learns) for form in (THEIRS, "sparsevision")}
    claim = Claim("sparsevision / transformers", "sparsevision", THEIRS, threshold)
    return Group(candidates, (claim,), {} if most is None else {"sparsevision": most})


GROUPS: Mapping[str, Group] = {
    "operator, 17,821 queries": of_operator(ALL_QUERIES, 4.5, most=60),
    "operator, 1,782 queries": of_operator(1_782, 2.0),
    "operator, 300 queries": of_operator(300, 1.6),
    "operator forward and backward": of_operator(ALL_QUERIES, 1.25, learns=True),
    "models": Group(
        {name: functools.partial(detector, name) for name in (THEIRS, DENSE, SPARSE)},
        (
            Claim("dense / transformers", DENSE, THEIRS, 2.0),
            Claim("rho 0.1 / transformers", SPARSE, THEIRS, 4.2),
            Claim("rho 0.1 / dense", SPARSE, DENSE, 1 / 0.6),
        ),
        {},
    ),
}  # fmt: skip


def main(
    *,
    groups: Annotated[list[str] | None, _Several] = None,
    rounds: int = 15,
    threads: int = 2,
    out: Path = Path("benchmarks/results"),
) -> int:
    """Run the groups whose names begin so (default: all), print and write times, memory and verdicts."""
    chosen = [name for name in GROUPS if groups is None or any(name.startswith(start) for start in groups)]
    if not chosen:
        raise SystemExit(f"There is no group {groups}; there are {list(GROUPS)}.")
    verdicts, rows, records = [], [], []
    with use_threads(threads), Console(stderr=True).status("starting") as status:
        machine = describe_machine()
        for name in chosen:
            times = measure(GROUPS[name], rounds, lambda text, name=name: status.update(f"{name}: {text}"))
            memory = {candidate: memory_of(name, candidate, threads) for candidate in times}
            verdicts += judge(name, times, memory)
            rows += [
                (name, candidate, milliseconds(times[candidate]), f"{memory[candidate].megabytes:.0f}")
                for candidate in times
            ]
            records += [
                {"group": name, "candidate": candidate, "seconds": seconds, "memory": asdict(memory[candidate])}
                for candidate, seconds in times.items()
            ]
    tables = [*markdown_table(COLUMNS, verdicts), "", *markdown_table(TIMES, rows)]
    text = "\n".join(
        ["# Claims about the detectors' speed", "", f"{machine}.", "", HOW.format(rounds=rounds), "", *tables, ""]
    )
    whole = {"machine": asdict(machine), "verdicts": verdicts, "times": records}
    publish(out, "detr_speed_claims", text, whole)
    return missed(verdicts)


def measure(group: Group, rounds: int, progress: Callable[[str], None]) -> dict[str, list[float]]:
    """Returns the seconds of every round of every candidate."""
    calls = {name: make() for name, make in group.candidates.items()}
    return time_interleaved(calls, Settings(rounds=rounds, warmup=1), progress=progress)


def judge(name: str, times: Mapping[str, list[float]], memory: Mapping[str, MemoryUse]) -> list[Verdict]:
    """Holds a group's figures against its claims."""
    found = judge_times(name, GROUPS[name].claims, times)
    for candidate, most in GROUPS[name].most_megabytes.items():
        used = memory[candidate].megabytes
        verdict = verdict_on_memory(used, most)
        found.append(Verdict(name, f"extra memory of {candidate}", f"{used:.0f} MB", f"<= {most:.0f} MB", verdict))
    return found


def memory_of(group: str, candidate: str, threads: int) -> MemoryUse:
    """Measures a candidate's peak memory in a process of its own."""
    command = [sys.executable, __file__, "memory", group, candidate, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return MemoryUse(**json.loads(done.stdout.strip().splitlines()[-1]))


def memory(group: str, candidate: str, threads: int) -> None:
    """Print the peak memory of one candidate as JSON."""
    torch.set_num_threads(threads)
    call = GROUPS[group].candidates[candidate]()
    small = operator(candidate if candidate == THEIRS else "sparsevision", 8, learns="backward" in group)
    small()
    print(json.dumps(asdict(peak_growth(call))))


if __name__ == "__main__":
    app = cyclopts.App(default_command=main, result_action="return_value")
    app.command(memory)
    sys.exit(app())
