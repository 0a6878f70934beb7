"""Does dividing a large image into windows change its class map, and does memory grow with the image?

    python benchmarks/segmentation_windows.py --data NUCLEI --runs runs/vt_fpn runs/fpn

Images of 2048 and 4096 pixels are put together from test images, each enlarged to 512 pixels, the size that the
networks were trained at. The whole image in one piece is compared with windows of two sizes. Memory is the growth of a
fresh process while the class map is made, above model, image and class map. Needs Linux.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import numpy as np
import torch
from PIL import Image

from publishing import publish
from sparsevision.data.preprocessing import LEAST_SIDE
from sparsevision.inference import Predictor
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.memory import peak_growth
from sparsevision.measure.report import markdown_table
from sparsevision.tasks import open_dataset

_Runs = Annotated[tuple[Path, ...], cyclopts.Parameter(consume_multiple=True, negative="")]
TILE = 512
WINDOWS = (512, 1024)
LEAST_AGREEMENT, MOST_GROWTH = 0.995, 1.2


def mosaic(data: str, side: int) -> Image.Image:
    """Puts test images together."""
    dataset: Any = open_dataset(data, "test", task="segmentation")
    canvas, place = Image.new("RGB", (side, side)), 0
    for top in range(0, side, TILE):
        for left in range(0, side, TILE):
            image = Image.open(dataset.path(place % len(dataset))).convert("RGB")
            short = min(image.size)
            canvas.paste(image.crop((0, 0, short, short)).resize((TILE, TILE)), (left, top))
            place += 1
    return canvas


def predictor_for(run: Path, side: int) -> Predictor:
    """Opens a run whose images, or windows, of a side are shown as they are."""
    opened = Predictor(run / "best", "cpu")
    return Predictor(
        run / "best", "cpu", preprocessing=replace(opened.preprocessing, size=(side, max(side, LEAST_SIDE)))
    )


def memory_here(run: Path, data: str, side: int, window: int) -> float:
    """Measures one prediction in this process; in MB, without the class map."""
    torch.set_num_threads(2)
    image, predictor = mosaic(data, side), predictor_for(run, window)
    predictor(image.crop((0, 0, window, window)), window=window)
    return peak_growth(lambda: predictor(image, window=window)).megabytes - side * side / 1e6


def memory_of(run: Path, data: str, side: int, window: int) -> float:
    """Measures one prediction in a process of its own."""
    command = [sys.executable, __file__, "memory", str(run), data, str(side), str(window)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(ended.stdout.strip().splitlines()[-1]))


def main(*, data: str, runs: _Runs, out: Path = Path("benchmarks/results")) -> int:
    """Compare and measure; status 1 where no run meets both bounds with the larger windows."""
    rows, met = [], []
    for run in runs:
        name = Predictor(run / "best", "cpu").model.config.neck
        image = mosaic(data, 4096)
        whole = predictor_for(run, 4096)(image).labels
        for window in WINDOWS:
            parts = predictor_for(run, window)(image, window=window).labels
            agreement = float(np.mean(parts == whole))
            memory = [memory_of(run, data, side, window) for side in (2048, 4096)]
            rows.append(
                (name, str(window), f"{agreement:.2%}", *(f"{each:.0f}" for each in memory),
                 f"{memory[1] / memory[0]:.2f}")
            )  # fmt: skip
            met.append(agreement >= LEAST_AGREEMENT and memory[1] <= MOST_GROWTH * memory[0])
    text = _text(rows)
    publish(out, "segmentation_windows", text, {"machine": asdict(describe_machine()), "rows": rows})
    return int(not any(met))


def _text(rows: Sequence[tuple[str, ...]]) -> str:
    columns = ("neck", "window, px", "pixels as in one piece", "MB at 2048 px", "MB at 4096 px", "growth")
    how = (
        "Trained on nuclei (recipe `nuclei_nano`); images of 2048 and 4096 px put together from test images of 512 px, "
        "which are of many kinds: what a norm or a token sees of the whole image differs from what it sees of a window "
        "as much as it can. The neck *tokens* is VT-FPN's, whose tokens are read from the whole image or window; "
        "*pyramid* is FPN's. Memory is the growth of the process above model, image and class map."
    )
    table = markdown_table(columns, rows)
    return "\n".join(["# Segmentation in windows", "", f"{describe_machine()}.", "", how, "", *table, ""])


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        run, data, side, window = sys.argv[2:]
        print(json.dumps(memory_here(Path(run), data, int(side), int(window))))
    else:
        app = cyclopts.App(default_command=main, result_action="return_value")
        sys.exit(app())
