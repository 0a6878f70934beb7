"""A whole benchmark: models x sizes x batches x precisions x paths, one interleaved run per workload."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

import torch

from sparsevision.errors import ConfigError, first_line
from sparsevision.factory import task_of
from sparsevision.measure.cases import (
    Candidate,
    Dtype,
    Size,
    Work,
    Workload,
    build_model,
    input_shape,
    is_ours,
    sides,
    size_text,
)
from sparsevision.measure.memory import measure_memory
from sparsevision.measure.operations import count_macs
from sparsevision.measure.report import BenchmarkRow
from sparsevision.measure.speed import Progress, Settings, compare, group_by_workload
from sparsevision.models.published import OperationCount, count_parameters
from sparsevision.tasks import task_named


def make_candidates(
    models: Sequence[str], *, sizes: Sequence[Size] = (224,), batches: Sequence[int] = (1,),
    dtypes: Sequence[Dtype] = ("fp32",), work: Work = "inference", device: str = "cpu", plain: bool = False,
    compiled: bool = False,
) -> list[Candidate]:  # fmt: skip
    """Returns every combination; `plain` adds our models' plain path, `compiled` adds every candidate compiled."""
    candidates: list[Candidate] = []
    for size, batch, dtype in itertools.product(sizes, batches, dtypes):
        load = Workload(size, batch, dtype=dtype, work=work, device=device)
        for model in dict.fromkeys(models):
            paths = [Candidate(model, load)]
            if plain and is_ours(model):
                paths.append(Candidate(model, load, path="plain"))
            candidates += paths + [replace(path, compiled=True) for path in paths if compiled]
    return candidates


def choose_peer(models: Sequence[str]) -> str:
    """Returns whom the others are compared with: the first model that is not ours, or else the first."""
    return next((model for model in models if not is_ours(model)), models[0])


def run_benchmark(
    candidates: Sequence[Candidate], settings: Settings, *, peer: str, peer_compiled: bool = False,
    memory: bool = False, progress: Progress | None = None,
) -> Iterator[list[BenchmarkRow]]:  # fmt: skip
    """Yields the results of one workload after the other; ratios are to `peer`, eager unless `peer_compiled`."""
    for load, group in group_by_workload(candidates).items():
        timings = compare(group, settings, peer=Candidate(peer, load, compiled=peer_compiled), progress=progress)
        results: list[BenchmarkRow] = []
        for timing in timings:
            candidate, use = timing.candidate, None
            if memory and progress is not None:
                progress(f"memory of {candidate.label}")
            if memory:
                threads, mode = torch.get_num_threads(), settings.compile_mode
                use = measure_memory(candidate, timing.memory_format, threads=threads, compile_mode=mode)
            results.append(BenchmarkRow(timing, use, cost_of(candidate.model, load.size)[1].total))
        yield results


def check_candidates(candidates: Sequence[Candidate]) -> None:
    """Raises for an unknown model, and for what a model cannot take or do, before anything is computed."""
    for candidate in candidates:
        load = candidate.workload
        if min(*sides(load.size), load.batch) < 1:
            raise ConfigError(f"Sizes and batches must be at least 1; {load} was asked for.")
        if load.work == "training" and not task_named(task_of(candidate.model)).returns_logits:
            raise ConfigError(
                f"A training step of {candidate.model} needs targets that random images do not have: measure "
                "its inference, or read the seconds a step takes off `sparsevision train`."
            )
    for model, size in dict.fromkeys((one.model, one.workload.size) for one in candidates):
        cost_of(model, size)


@cache
def cost_of(model: str, size: Size) -> tuple[int, OperationCount]:
    """Returns a model's parameters and its operations for one image, without computing anything."""
    with torch.device("meta"):
        network = build_model(model, size)
    try:
        return count_parameters(network), count_macs(network, input_shape(model, size))
    except (RuntimeError, AssertionError) as failure:
        where = f"{size_text(size)} px ({first_line(failure)})"
        raise ConfigError(f"{model} cannot take images of {where}: choose another size.") from failure
