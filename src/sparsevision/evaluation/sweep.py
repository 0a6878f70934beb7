"""A trained model scored at several values of its controls and choices: how well it does, and how long it takes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sparsevision.errors import ConfigError
from sparsevision.evaluation.evaluate import Evaluation, Progress, nothing_read
from sparsevision.inference.options import checked_options, choices_of, controls_of, options_of
from sparsevision.measure.machine import Machine, describe_machine
from sparsevision.measure.speed import Spread, median_and_quartiles
from sparsevision.packing import pack_weights
from sparsevision.tasks import Measure, Metrics, Report
from sparsevision.types import Batch, Skipped, Table

# Shares of a control's largest value at which it is swept where nothing else is asked for.
RUNGS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """The model at one value of each swept control and choice: its report, and seconds an image with quartiles."""

    settings: Mapping[str, Any]
    report: Report
    seconds: Spread

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures as JSON takes them; times in milliseconds."""
        spread = {"median": self.seconds.value, "low": self.seconds.low, "high": self.seconds.high}
        times = {name: round(1e3 * value, 3) for name, value in spread.items()}
        return {**self.settings, **self.report.scalars(), "milliseconds": times}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All rows of a sweep, by choices and rising values; `trained` are the values that the model has by itself."""

    rows: tuple[SweepRow, ...]
    trained: Mapping[str, Any]
    measures: tuple[Measure, ...]
    data: str
    machine: Machine
    skipped: tuple[Skipped, ...]

    @property
    def images(self) -> int:
        """The number of images that were scored."""
        return self.rows[0].report.images

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON takes it."""
        return {
            "data": self.data, "machine": asdict(self.machine), "trained": dict(self.trained),
            "rows": [row.to_dict() for row in self.rows], "skipped": [asdict(one) for one in self.skipped],
        }  # fmt: skip

    def table(self) -> Table:
        """Returns a row for each setting with its measures and its time."""
        names = [name.replace("_", " ") for name in self.rows[0].settings]
        rows = []
        for row in self.rows:
            scalars = row.report.scalars()
            settings = [value if isinstance(value, str) else f"{value:g}" for value in row.settings.values()]
            low, middle, high = (f"{1e3 * each:.1f}" for each in (row.seconds.low, row.seconds.value, row.seconds.high))
            measured = [measure.text(scalars[measure.name]) for measure in self.measures]
            rows.append((*settings, *measured, f"{middle} ({low}–{high})"))
        columns = (*names, *(measure.label for measure in self.measures), "ms (quartiles)")
        return Table(columns=columns, rows=tuple(rows))


def sweep(
    checkpoint: str | Path, data: str, *, values: Mapping[str, Sequence[Any]] | None = None, split: str | None = None,
    workers: int = 0, device: str | None = None, progress: Progress = lambda done, total: None,
) -> Sweep:  # fmt: skip
    """Scores a checkpoint on a split of a data set at combinations of values; see `sweep_controls`."""
    evaluation = Evaluation(checkpoint, data, split=split, device=device)
    return sweep_controls(evaluation, values, workers=workers, progress=progress)


def sweep_controls(
    evaluation: Evaluation, values: Mapping[str, Sequence[Any]] | None = None, *, workers: int = 0,
    progress: Progress = lambda done, total: None,
) -> Sweep:  # fmt: skip
    """Scores a model at all combinations of values of its controls and choices.

    `values` names the swept ones. Without it, the first control is swept over its range; choices that are not named
    have all of their values in turn.

    Images come one by one, and each passes through all settings in turn before the next, so that a machine that slows
    down slows all of them. A time is that of the network alone, without reading and without what is done with its
    output; an image of a size that was not there before passes once more, untimed. Random choices depend on the
    image's number alone.

    Raises:
        ConfigError: the model has nothing to sweep, or a value is out of range.
    """
    swept = _swept(evaluation.model, values or {})
    settings = [
        _Setting(evaluation, dict(zip(swept, combination, strict=True)))
        for combination in itertools.product(*swept.values())
    ]
    if evaluation.device.type == "cpu":
        pack_weights(evaluation.model)
    skipped: list[Skipped] = []
    _run(settings, evaluation.batches(1, workers, skipped, progress))
    if not settings[0].seconds:
        raise nothing_read("score", [one.reason for one in skipped])
    known = options_of(evaluation.model)
    return Sweep(
        rows=tuple(setting.result() for setting in settings), trained={name: known[name].default for name in swept},
        measures=evaluation.task.measures, data=evaluation.dataset.origin,
        machine=describe_machine(str(evaluation.device)), skipped=tuple(skipped),
    )  # fmt: skip


def _swept(model: Any, values: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Returns the values of each swept choice, then of each swept control."""
    controls, choices = controls_of(model), choices_of(model)
    if not controls and not choices:
        raise ConfigError(f"{type(model).__name__} has no control or choice to sweep.")
    for name, given in values.items():
        for value in given:
            checked_options(model, {name: value})
    found: dict[str, list[Any]] = {
        name: list(dict.fromkeys(values.get(name, choice.values))) for name, choice in choices.items()
    }
    named = [name for name in controls if name in values] or list(controls)[:1]
    for name in named:
        found[name] = sorted({float(value) for value in values.get(name, controls[name].values_at(RUNGS))})
    return found


class _Setting:
    """The model with some values of its controls; collects its outputs' measures and times."""

    def __init__(self, evaluation: Evaluation, values: dict[str, Any]) -> None:
        self.model, self.device = evaluation.model.eval(), evaluation.device
        self.controls = checked_options(self.model, values)
        self.metrics: Metrics = evaluation.task.metrics()
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
        """Runs an image and keeps its measures and its time."""
        output, seconds = self(batch)
        self.metrics.update(output, batch)
        self.seconds.append(seconds)

    def result(self) -> SweepRow:
        times = median_and_quartiles(self.seconds)
        return SweepRow(settings=self.controls, report=self.metrics.compute(), seconds=times)

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
            # The first one finds cold caches, so each is first at times.
            first = number % len(settings)
            turn = [*settings[first:], *settings[:first]]
            if (shape := tuple(batch.images.shape)) not in shapes:
                shapes.add(shape)
                turn[0](batch)
            for setting in turn:
                setting.add(batch)
