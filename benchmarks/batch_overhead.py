"""What `batch` costs beside a plain loop: whole processes over the same images, in turns.

    python benchmarks/batch_overhead.py PHOTOGRAPHS --images 1000

The plain loop is `sparsevision predict --json` over the folder. Both read, predict and write the same rows. Processes
have one thread of arithmetic for each worker. Writes `results/batch_overhead.md` and `.json`.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cyclopts
import pyarrow.parquet as pq

from claims import milliseconds
from publishing import publish
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.report import markdown_table
from sparsevision.measure.speed import ratio_of_medians

MODELS = ("sparseformer_nano", "sparse_detr_nano")


def main(
    photographs: Path, *, images: int = 1000, workers: int = 2, rounds: int = 3,
    out: Path = Path("benchmarks/results"),
) -> None:  # fmt: skip
    """Time a plain loop, and `batch` with one and with several workers, for each shipped model of the two tasks."""
    found = sorted(path.resolve() for path in photographs.rglob("*.jpg"))[:images]
    rows, record = [], []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        folder.mkdir()
        for number, path in enumerate(found):
            (folder / f"{number:05d}.jpg").symlink_to(path)
        for model in MODELS:
            ways = {"a plain loop": 0, **{f"batch, workers: {count}": count for count in sorted({1, workers})}}
            seconds: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(rounds):
                for way in random.Random(number).sample([*ways], len(ways)):
                    seconds[way].append(timed(folder, model, ways[way], Path(place), len(found)))
            for way, each in seconds.items():
                rows.append((model, way, milliseconds([one / len(found) for one in each]),
                             str(ratio_of_medians(each, seconds["a plain loop"]))))  # fmt: skip
                record.append({"model": model, "way": way, "images": len(found), "seconds": each})
    how = (
        f"{describe_machine()}.\n\nWhole processes, from their start to their end, over {len(found)} photographs, one "
        f"thread of arithmetic for each worker; {rounds} rounds in random order, medians with quartiles, ratios of "
        "medians with a 90 % bootstrap interval. Ray's own start is a part of `batch`."
    )
    table = markdown_table(("model", "way", "ms an image", "of the plain loop's"), rows)
    publish(out, "batch_overhead", "\n".join(("# What batch costs", "", how, "", *table)), record)


def timed(folder: Path, model: str, workers: int, place: Path, count: int) -> float:
    """Returns the seconds of a process that predicts a folder; asserts that it gives a row for every image."""
    with tempfile.TemporaryDirectory(dir=place) as made:
        written = Path(made) / "rows"
        words: Sequence[str] = (
            ("batch", str(folder), "--out", str(written), "--workers", str(workers))
            if workers
            else ("predict", str(folder), "--json")
        )
        began = time.perf_counter()
        ended = subprocess.run(
            [sys.executable, "-m", "sparsevision", *words, "--model", model], capture_output=True, text=True,
            check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        taken = time.perf_counter() - began
        rows = (
            sum(pq.read_metadata(path).num_rows for path in written.glob("*.parquet"))
            if workers
            else len(ended.stdout.splitlines())
        )
        assert rows == count, (words, rows)
    return taken


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    app()
