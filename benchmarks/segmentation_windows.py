"""Does dividing a large image into windows change its class map, and does memory grow with the image?

    python benchmarks/segmentation_windows.py --data NUCLEI --runs runs/vt_fpn runs/fpn

Images of 2048 and 4096 pixels are put together from test images, each enlarged to 896 pixels, the size that the
networks were trained at: once from images of one kind, as a slide is, and once from all kinds. The whole image in one
piece is compared with windows of two sizes. Memory is the growth of a fresh process while the class map is made, above
the model, and less the image that is predicted and its class map. Needs Linux.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import cyclopts
import numpy as np
import torch
from PIL import Image

from apart import measured_apart
from publishing import publish
from sparsevision.data.preprocessing import LEAST_SIDE
from sparsevision.inference import Predictor
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.memory import peak_growth
from sparsevision.measure.report import markdown_table

_Runs = Annotated[tuple[Path, ...], cyclopts.Parameter(consume_multiple=True, negative="")]
TILE = 896
WINDOWS = (1024, 2048)
KIND = "dark grey"
LEAST_AGREEMENT, MOST_GROWTH = 0.995, 1.2


def mosaic(data: str, side: int, kind: str | None = None) -> Image.Image:
    """Puts test images together, of one kind or of all."""
    rows = json.loads((Path(data) / "annotations" / "test.json").read_text())["images"]
    names = [Path(row["file_name"]).name for row in rows if kind in (None, row["kind"])]
    canvas, place = Image.new("RGB", (side, side)), 0
    for top in range(0, side, TILE):
        for left in range(0, side, TILE):
            image = Image.open(Path(data) / "test" / "images" / names[place % len(names)]).convert("RGB")
            short = min(image.size)
            canvas.paste(image.crop((0, 0, short, short)).resize((TILE, TILE)), (left, top))
            place += 1
    return canvas


def predictor_for(run: Path, side: int) -> Predictor:
    """Opens a run whose images, or windows, of a side are shown as they are."""
    opened = Predictor(run, "cpu")
    size = (side, max(side, LEAST_SIDE))
    return Predictor(run, "cpu", preprocessing=replace(opened.preprocessing, size=size))


def memory_here(run: Path, data: str, side: int, window: int) -> float:
    """Measures one prediction in this process; in MB, without the class map."""
    torch.set_num_threads(2)
    image, predictor = mosaic(data, side), predictor_for(run, window)
    predictor(image.crop((0, 0, window, window)), window=window)
    return peak_growth(lambda: predictor(image, window=window)).megabytes - 4 * side * side / 1e6


def memory_of(run: Path, data: str, side: int, window: int) -> float:
    """Measures one prediction in a process of its own."""
    return measured_apart(__file__, "memory", run, data, side, window)


def main(*, data: str, runs: _Runs, out: Path = Path("benchmarks/results")) -> int:
    """Compare and measure; status 1 where no run meets both bounds with the larger windows."""
    rows, met = [], []
    for run in runs:
        name = Predictor(run, "cpu").model.config.neck
        agreements: dict[int, list[float]] = {window: [] for window in WINDOWS}
        for kind in (KIND, None):
            image = mosaic(data, 4096, kind)
            whole = predictor_for(run, 4096)(image).labels
            for window in WINDOWS:
                parts = predictor_for(run, window)(image, window=window).labels
                agreements[window].append(float(np.mean(parts == whole)))
        for window, shares in agreements.items():
            memory = [memory_of(run, data, side, window) for side in (2048, 4096)]
            growth = memory[1] / memory[0]
            cells = (*(f"{share:.2%}" for share in shares), *(f"{each:.0f}" for each in memory), f"{growth:.2f}")
            rows.append((name, str(window), *cells))
            met.append(shares[0] >= LEAST_AGREEMENT and growth <= MOST_GROWTH)
    text = _text(rows)
    publish(out, "segmentation_windows", text, {"machine": asdict(describe_machine()), "rows": rows})
    return int(not any(met))


def _text(rows: Sequence[tuple[str, ...]]) -> str:
    columns = (
        "neck", "window, px", "as in one piece, one kind", "all kinds", "MB at 2048 px", "MB at 4096 px", "growth",
    )  # fmt: skip
    how = (
        "Trained on nuclei (recipe `nuclei_nano`); images of 2048 and 4096 px put together from test images at 896 px, "
        "dark grey ones, or of all kinds: then what a norm or a token sees of the whole image differs from what it "
        "sees of a window as much as it can. The neck *tokens* is VT-FPN's, whose tokens are read from the whole image "
        "or window; *pyramid* is FPN's. Memory is the growth of the process, without the image and its class map."
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
