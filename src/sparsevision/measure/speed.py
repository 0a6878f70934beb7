"""Speed of several candidates in one interleaved run.

Machines slow down and speed up by themselves, so two candidates timed one after the other compare the machine with
itself. Here every round gives each candidate one turn, forwards and backwards alternately; a candidate's figure is the
median over rounds and a comparison is the ratio of two medians of the same rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from sparsevision.errors import ConfigError
from sparsevision.measure.cases import Candidate, MemoryFormat, Runner, Workload

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """Rounds of a measurement, after `warmup` uncounted ones; turns repeat short calls until `turn_seconds` are over.

    `compile_mode` is torch.compile's, for every compiled candidate alike.
    """

    rounds: int = 15
    warmup: int = 2
    turn_seconds: float = 0.1
    compile_mode: str = "default"

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.warmup < 1:
            raise ConfigError(f"rounds and warmup must be at least 1, got {self.rounds} and {self.warmup}.")


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


@dataclass(frozen=True)
class Timing:
    """A candidate's times: `seconds` per call (median and quartiles over rounds) and `speedup` over the peer.

    `speedup` is the peer's median over this one's, with the interval that chance alone explains in 90 of 100 cases.
    """

    candidate: Candidate
    memory_format: MemoryFormat
    parameters: int
    seconds: Spread
    rounds: tuple[float, ...]
    speedup: Spread | None = None

    @property
    def images_per_second(self) -> float:
        """Images a second at the median time."""
        return self.candidate.workload.batch / self.seconds.value


def time_interleaved(
    calls: Mapping[str, Callable[[], object]], settings: Settings, *, clock: Callable[[], float] = time.perf_counter,
    prepare: Callable[[str], None] = lambda name: None, progress: Progress | None = None,
) -> dict[str, list[float]]:  # fmt: skip
    """Returns, for every name, the seconds per call of each round.

    Every round calls each once, in the given order and backwards in turn, so that none always follows the same other.
    `prepare` is called with the name before each turn, and is not timed.
    """
    repeats = dict.fromkeys(calls, 1)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(-settings.warmup, settings.rounds):
        for name in list(calls) if number % 2 == 0 else reversed(list(calls)):
            prepare(name)
            start = clock()
            for _ in range(repeats[name]):
                calls[name]()
            seconds = (clock() - start) / repeats[name]
            if number >= 0:
                times[name].append(seconds)
            elif seconds > 0:
                repeats[name] = max(1, round(settings.turn_seconds / seconds))
        if progress is not None:
            progress(f"round {number + 1} of {settings.rounds}" if number >= 0 else "warm-up")
    return times


def after_rest(calls: Mapping[str, Callable[[], object]], seconds: float) -> Callable[[str], None]:
    """Returns a `prepare` of `time_interleaved` for runtimes with pools of threads.

    These keep spinning behind a call and slow the next candidate: it rests, and makes a call that does not count.
    """

    def prepare(name: str) -> None:
        time.sleep(seconds)
        calls[name]()

    return prepare


def compare(
    candidates: Sequence[Candidate], settings: Settings, *, peer: Candidate | None = None,
    progress: Progress | None = None,
) -> list[Timing]:  # fmt: skip
    """Times candidates of one workload against each other in one interleaved run.

    Returns a row per candidate, in order; with a `peer` (one of the candidates) each has its ratio to it. Raises
    `ConfigError` where workloads differ, since such times must not be compared.
    """
    workloads = {candidate.workload for candidate in candidates}
    if len(workloads) != 1:
        raise ConfigError(f"One run compares candidates of one workload, got {len(workloads)}: time them separately.")
    if peer is not None and peer not in candidates:
        raise ConfigError(f"The peer {peer.label!r} does not take part in the run.")
    with _compiling(candidates), torch.random.fork_rng(devices=[]):
        runners: dict[str, Runner] = {}
        for candidate in candidates:
            if progress is not None:
                progress(f"building {candidate.label}")
            runners[candidate.label] = Runner(candidate, compile_mode=settings.compile_mode)
        times = time_interleaved(runners, settings, progress=progress)
    timings: list[Timing] = []
    for candidate in candidates:
        runner, own = runners[candidate.label], times[candidate.label]
        speedup = None if peer is None else ratio_of_medians(times[peer.label], own)
        middle = median_and_quartiles(own)
        timings.append(Timing(candidate, runner.memory_format, runner.parameters, middle, tuple(own), speedup))
    return timings


def group_by_workload(candidates: Sequence[Candidate]) -> dict[Workload, list[Candidate]]:
    """Sorts candidates into the groups that can be compared, in order of first appearance."""
    groups: dict[Workload, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.workload, []).append(candidate)
    return groups


@contextmanager
def use_threads(threads: int | None) -> Iterator[None]:
    """Lets torch compute with this many threads for a while; None leaves the number as it is."""
    before = torch.get_num_threads()
    if threads is not None and threads < 1:
        raise ConfigError(f"threads must be at least 1, got {threads}.")
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _compiling(candidates: Sequence[Candidate]) -> Iterator[None]:
    """Makes sure that no compiled candidate falls back to eager for having too many compiled siblings."""
    compiled = sum(candidate.compiled for candidate in candidates)
    if not compiled:
        yield
        return
    import torch._dynamo.config as dynamo

    with dynamo.patch(
        recompile_limit=max(dynamo.recompile_limit, 8 * (compiled + 1)), fail_on_recompile_limit_hit=True
    ):
        yield
    torch._dynamo.reset()
