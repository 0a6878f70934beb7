"""One trained detector at several shares of updated tokens: how well it does, and how long it takes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sparsevision.errors import ConfigError
from sparsevision.inference.options import checked_options, choices_of, controls_of
from sparsevision.layers.packing import pack_weights
from sparsevision.measure.machine import Machine, describe_machine
from sparsevision.measure.statistics import Spread, median_and_quartiles
from sparsevision.tasks.detection.metrics import DetectionReport
from sparsevision.tasks.contract import Metrics
from sparsevision.training.loop import nothing_read
from sparsevision.training.scoring import ScoredSplit, ToScore
from sparsevision.types import Batch, Skipped

KEEP_RATIOS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


@dataclass(frozen=True)
class Swept:
    """The detector with one way to select and one share of tokens: its report, and seconds a picture with quartiles."""

    selection: str
    keep_ratio: float
    report: DetectionReport
    seconds: Spread

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures as JSON takes them; times in milliseconds."""
        figures = self.report.scalars()
        spread = {"median": self.seconds.value, "low": self.seconds.low, "high": self.seconds.high}
        times = {name: round(1e3 * value, 3) for name, value in spread.items()}
        return {"selection": self.selection, "keep_ratio": self.keep_ratio, **figures, "milliseconds": times}


@dataclass(frozen=True)
class Sweep:
    """All that was measured: `rows` by selection and rising share, `trained` the share that training had."""

    rows: tuple[Swept, ...]
    trained: float
    data: str
    machine: Machine
    skipped: tuple[Skipped, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON takes it."""
        return {
            "data": self.data,
            "machine": asdict(self.machine),
            "trained_keep_ratio": self.trained,
            "rows": [row.to_dict() for row in self.rows],
            "skipped": [asdict(one) for one in self.skipped],
        }


def sweep_keep_ratios(
    checkpoint: str | Path,
    data: str,
    *,
    split: ScoredSplit = "val",
    keep_ratios: Sequence[float] = KEEP_RATIOS,
    selections: Sequence[str] | None = None,
    workers: int = 0,
    device: str | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Sweep:
    """Scores a sparse detector on a split at every share of tokens, selected in every way; by default in all it has.

    Pictures come one by one, and each passes through all settings in turn before the next, so that a machine that
    slows down slows all of them. A time is that of the network alone, without reading and without what is done with
    its output; a picture of a size that was not there before passes once more, untimed. Random selections depend on
    the picture's number alone.

    Raises:
        ConfigError: the model has no keep ratio, or a setting is out of range.
    """
    scored = ToScore(checkpoint, data, split=split, device=device)
    control = controls_of(scored.model).get("keep_ratio")
    if control is None:
        raise ConfigError(f"{type(scored.model).__name__} has no keep ratio to sweep: it updates all of its tokens.")
    ways = selections or choices_of(scored.model)["selection"].values
    pairs = itertools.product(dict.fromkeys(ways), sorted(set(keep_ratios)))
    settings = [_Setting(scored, {"selection": way, "keep_ratio": ratio}) for way, ratio in pairs]
    if scored.device.type == "cpu":
        pack_weights(scored.model)
    skipped: list[Skipped] = []
    _run(settings, scored.batches(1, workers, skipped, progress))
    if not settings[0].seconds:
        raise nothing_read("score", [one.reason for one in skipped])
    rows = tuple(setting.result() for setting in settings)
    return Sweep(rows, control.default, scored.dataset.origin, describe_machine(str(scored.device)), tuple(skipped))


class _Setting:
    """The model with some values of its controls; collects what it finds and how long that takes."""

    def __init__(self, scored: ToScore, values: dict[str, Any]) -> None:
        self.model, self.device = scored.model.eval(), scored.device
        self.controls = checked_options(scored.model, values)
        self.metrics: Metrics = scored.task.metrics()
        self.seconds: list[float] = []

    def __call__(self, batch: Batch) -> tuple[Any, float]:
        """Runs the model; returns its output and the seconds that it took."""
        torch.manual_seed(batch.indices[0])
        self._wait()
        start = time.perf_counter()
        output = self.model(batch.images, **self.controls)
        self._wait()
        return output, time.perf_counter() - start

    def add(self, batch: Batch) -> None:
        """Runs a picture and keeps what comes of it."""
        output, seconds = self(batch)
        self.metrics.update(output, batch)
        self.seconds.append(seconds)

    def result(self) -> Swept:
        report = self.metrics.compute()
        assert isinstance(report, DetectionReport)
        times = median_and_quartiles(self.seconds)
        return Swept(self.controls["selection"], self.controls["keep_ratio"], report, times)

    def _wait(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)


@torch.inference_mode()
def _run(settings: Sequence[_Setting], batches: Iterator[Batch]) -> None:
    shapes: set[tuple[int, ...]] = set()
    with torch.random.fork_rng():
        for number, batch in enumerate(batches):
            if not len(batch):
                continue
            batch = batch.to(settings[0].device)
            # Whoever comes first finds cold caches, so everybody does at times.
            first = number % len(settings)
            turn = [*settings[first:], *settings[:first]]
            if (shape := tuple(batch.images.shape)) not in shapes:
                shapes.add(shape)
                turn[0](batch)
            for setting in turn:
                setting.add(batch)
