"""Times finished detectors of blood cells on a CPU, one image of val after another.

    python benchmarks/bccd_speed.py BCCD runs/bccd-0 runs/bccd-dense runs/bccd-faster-rcnn --threads 2

All take turns in one interleaved run, with weights packed as `predict` has them, and end with boxes and scores. A model
whose encoder can update fewer tokens is timed at a tenth of them, too. Writes `results/bccd_speed.md` and `.json`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cyclopts
import numpy as np
import torch
from torch import Tensor

from bccd import load_run
from claims import milliseconds
from publishing import publish
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.report import markdown_table
from sparsevision.measure.speed import Settings, ratio_of_medians, time_interleaved, use_threads
from sparsevision.packing import pack_weights
from sparsevision.tasks.detection.task import DetectionTask
from sparsevision.tasks.detection.transforms import evaluation_transform
from sparsevision.training import read_recipe

FEW = 0.1  # of the tokens


def main(
    data: str,
    *runs: Path,
    threads: int = 2,
    rounds: int = 15,
    images: int = 8,
    out: Path = Path("benchmarks/results"),
) -> None:
    """Time the best weights of every run folder; the last one is what the others are compared with."""
    with use_threads(threads):
        calls: dict[str, Callable[[], object]] = {}
        for run in runs:
            calls |= _candidates(run, data, images)
        times = time_interleaved(calls, Settings(rounds=rounds))
        machine = describe_machine()
    each = {name: [seconds / images for seconds in found] for name, found in times.items()}
    *_, peer = each
    rows = [
        (name, milliseconds(seconds), f"{ratio_of_medians(each[peer], seconds)}x") for name, seconds in each.items()
    ]
    text = [
        "# Blood cells: time on a CPU\n",
        f"{machine}.\n",
        f"{images} images of val, one after another, fp32, in one interleaved run of {rounds} rounds: "
        "medians, with the quartiles over rounds; ratios of medians, with a 90 % bootstrap interval.\n",
        *markdown_table(("model", "ms an image (quartiles)", f"times as fast as {peer} (90 %)"), rows),
    ]
    publish(out, "bccd_speed", "\n".join(text), {"machine": asdict(machine), "seconds_a_image": each})


def _candidates(run: Path, data: str, count: int) -> dict[str, Callable[[], object]]:
    """Names the ways to run a model: as it was trained, and with few tokens where it chooses them."""
    model, described = load_run(run)
    dataset = DetectionTask.open(data, "val")
    transform = evaluation_transform(described.preprocessing)
    chosen = np.linspace(0, len(dataset) - 1, count).astype(int).tolist()
    images = [transform(dataset.read(index)).image.unsqueeze(0) for index in chosen]
    pack_weights(model)
    name, controls = read_recipe(run / "recipe.toml").model.name, model.controls
    if "keep_ratio" not in controls:
        return {name: partial(_predict, model, images)}
    ratios = (controls["keep_ratio"].default, FEW)
    return {f"{name}, {ratio:.0%} of tokens": partial(_predict, model, images, keep_ratio=ratio) for ratio in ratios}


@torch.inference_mode()
def _predict(model: Any, images: list[Tensor], **controls: float) -> None:
    for image in images:
        model(image, **controls)


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    app()
