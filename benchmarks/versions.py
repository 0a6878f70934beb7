"""What has become faster since an earlier version: a model of it and of this one, in turns, each in its own process.

    git worktree add ../before fc2822e
    python benchmarks/versions.py ../before --old ../before/src/sparsevision/weights/sparse_detr_nano.safetensors

Sides are those that each sees images of a short side of 320 px and of 4:3 at: before, 320 x 427; with sides rounded to
multiples of 32, 320 x 416. The old weights are timed under both versions, so that what the code gained and what the
smaller network gained are told apart. Writes `results/versions.md` and `.json`.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import cyclopts

from claims import milliseconds
from publishing import publish
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.report import markdown_table
from sparsevision.measure.speed import ratio_of_medians

# Runs in a child: opens a model, and answers each size on standard input with the seconds of a call, the middle one of
# three behind one that does not count.
CHILD = """
import sys, time, torch
torch.set_num_threads(int(sys.argv[2]))
from sparsevision import Predictor
model = Predictor(sys.argv[1], "cpu").model
print("ready", flush=True)
for line in sys.stdin:
    images = torch.rand(1, 3, *map(int, line.split()))
    times = []
    with torch.inference_mode():
        for _ in range(4):
            began = time.perf_counter()
            model(images)
            times.append(time.perf_counter() - began)
    print(sorted(times[1:])[1], flush=True)
"""
NEW = "sparse_detr_nano"


class Child:
    """A version of the package in a process that runs code, which answers each line that it is sent with seconds."""

    def __init__(self, package: Path, code: str, *words: str, threads: int) -> None:
        environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *words, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, bufsize=1, env=environment,
        )  # fmt: skip
        self._answer()

    def __call__(self, *words: object) -> float:
        assert self.process.stdin is not None
        print(*words, file=self.process.stdin, flush=True)
        return float(self._answer())

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("A version could not be run.")
        return line


def main(
    before: Path, *, old: Path, threads: int = 2, rounds: int = 31, out: Path = Path("benchmarks/results")
) -> None:
    """Time both."""
    here = Path(__file__).parents[1]
    children = {
        "before, old weights": Child(before / "src", CHILD, str(old.resolve()), threads=threads),
        "now, old weights": Child(here / "src", CHILD, str(old.resolve()), threads=threads),
        "now, new weights": Child(here / "src", CHILD, NEW, threads=threads),
    }
    turns: Mapping[tuple[str, tuple[int, int]], list[float]] = {
        (name, size): []
        for name, sizes in zip(
            children, (((256, 341), (320, 427)), ((256, 341), (320, 427)), ((256, 352), (320, 416))), strict=True
        )
        for size in sizes
    }
    for _ in range(rounds):
        order = list(turns)
        random.shuffle(order)
        for name, size in order:
            turns[name, size].append(children[name](*size))
    small, large = (turns["before, old weights", size] for size in ((256, 341), (320, 427)))
    rows = [
        (
            name, f"{size[0]} x {size[1]}", milliseconds(seconds), str(ratio_of_medians(seconds, small)),
            str(ratio_of_medians(seconds, large)),
        )
        for (name, size), seconds in turns.items()
    ]  # fmt: skip
    how = (
        f"{describe_machine()}.\n\n`sparse_detr_nano` with packed weights, one image, {threads} threads; {rounds} "
        "rounds in random order, medians with quartiles, ratios of medians with a 90 % bootstrap interval."
    )
    columns = ("version", "size", "ms", "of before at 256 x 341", "of before at 320 x 427")
    record = [{"version": name, "size": size, "seconds": seconds} for (name, size), seconds in turns.items()]
    publish(out, "versions", "\n".join(("# Faster than before", "", how, "", *markdown_table(columns, rows))), record)


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    app()
