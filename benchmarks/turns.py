"""Times of the networks of run folders, taking turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sparsevision.inference import Predictor
from sparsevision.measure.speed import Settings, time_interleaved, use_threads


def times_in_turns(
    runs: Sequence[Path], threads: int, *, shape: tuple[int, ...] | None = None,
    finish: Callable[[Any], object] = lambda output: output,
) -> Mapping[Path, Sequence[float]]:  # fmt: skip
    """Times one input of each run's network with packed weights, and what `finish` makes of its output, in seconds.

    `shape` is that of the input, without it that of the run's preprocessing.
    """
    calls: dict[str, Callable[[], object]] = {}
    for run in runs:
        predictor = Predictor(run, "cpu")
        given = torch.rand(1, *(shape or predictor.preprocessing.input_shape()))

        def call(model: Any = predictor.model, given: torch.Tensor = given) -> object:
            with torch.inference_mode():
                return finish(model(given))

        calls[str(run)] = call
    with use_threads(threads):
        found = time_interleaved(calls, Settings(rounds=15))
    return {Path(run): seconds for run, seconds in found.items()}
