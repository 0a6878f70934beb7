"""Does predicting a long video take more memory than a short one? Peak memory of the command itself, frames of 320 px.

    python benchmarks/video_memory.py --images PHOTOGRAPHS

A camera moves over the photographs; the detector has random weights and keeps its 100 best boxes of every frame. Each
length is one `sparsevision predict VIDEO --json` in a process of its own. What counts is the process's own memory, read
every hundredth of a second (RssAnon). Its maximum resident set counts pages of libraries' files, too, as many as the
system happens to hold: on a busy machine it was from 865 to 1152 MB, in no order with the length.
Status 1 if the longest video takes over 10 % more than the shortest, or a line is missing. Needs Linux.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import av
import cyclopts
import torch
from PIL import Image

from publishing import publish
from sparsevision import create_model
from sparsevision.checkpoints import save_checkpoint
from sparsevision.data.reading import read_image
from sparsevision.errors import DataError, UnreadableImageError
from sparsevision.inference.sources import find_images
from sparsevision.measure.machine import describe_machine, read_kibibytes
from sparsevision.measure.report import markdown_table
from sparsevision.types import Preprocessing

MORE = 1.10  # the claim: peak of the longest over that of the shortest
SIZE = (320, 240)
SHOWN, STEP = 50, 2  # frames over one photograph, and pixels between two frames
_Several = cyclopts.Parameter(consume_multiple=True, negative="")


@dataclass(frozen=True)
class Measured:
    """One video: frames, lines that were written, peaks of the process in MB (a million bytes)."""

    frames: int
    lines: int
    own_megabytes: float
    whole_megabytes: float
    cpu_seconds: float


def main(
    *,
    images: str,
    frames: Annotated[Sequence[int], _Several] = (200, 2000),
    model: str = "sparse_detr_nano",
    out: Path = Path("benchmarks/results"),
) -> int:
    """Measure every length; write video_memory.md and video_memory.json into `out`."""
    with tempfile.TemporaryDirectory() as folder:
        weights = make_weights(model, Path(folder) / "weights")
        found = [measure(film(images, number, Path(folder)), number, weights) for number in sorted(frames)]
    shortest, longest = found[0], found[-1]
    ratio = longest.own_megabytes / shortest.own_megabytes
    held = ratio <= MORE and all(one.lines == one.frames for one in found)
    verdict = (
        f"Own memory of {longest.frames:,} frames over that of {shortest.frames:,}: {ratio:.3f} (at most {MORE:.2f}): "
        f"{'met' if held else 'MISSED'}."
    )
    whole = {"machine": asdict(describe_machine()), "model": model, "ratio": ratio, "videos": list(map(asdict, found))}
    publish(out, "video_memory", report(model, found, verdict), whole)
    return 0 if held else 1


def make_weights(model: str, folder: Path) -> Path:
    """Saves a detector of random weights that sees frames as they are."""
    torch.manual_seed(0)
    made = create_model(model, num_classes=3)
    shown = Preprocessing(size=(SIZE[1], SIZE[0]), fit="short", interpolation="bilinear")
    return save_checkpoint(folder, made, name=model, preprocessing=shown, labels=("ant", "bee", "cat"))


def film(images: str, frames: int, folder: Path) -> Path:
    """Writes a video in which a camera moves over photographs, 25 frames a second."""
    path = folder / f"{frames}.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for view in islice(views(images), frames):
            container.mux(stream.encode(av.VideoFrame.from_image(view)))
        container.mux(stream.encode())
    return path


def views(images: str) -> Iterator[Image.Image]:
    """Yields what a camera sees that moves over one photograph after another, and begins again."""
    photographs = []
    for path in find_images([images], sys.stdin.buffer, []):
        try:
            photographs.append(read_image(path))
        except UnreadableImageError:
            continue
    if not photographs:
        raise DataError(f"There are no photographs in {images!r}.")
    travel = SHOWN * STEP
    for photograph in cycle(photographs):
        wide = photograph.resize((SIZE[0] + travel, SIZE[1] + travel))
        for shift in range(0, travel, STEP):
            yield wide.crop((shift, shift, shift + SIZE[0], shift + SIZE[1]))


def measure(video: Path, frames: int, weights: Path) -> Measured:
    """Predicts a video with the command, in a process of its own."""
    lines = video.with_suffix(".jsonl")
    words = ["predict", str(video), "--model", str(weights), "--json", "--threshold", "0", "--device", "cpu"]
    with lines.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "sparsevision", *words], stdout=file)
        own, ended = 0, 0
        while not ended:
            own = max(own, read_kibibytes(Path(f"/proc/{process.pid}/status"), "RssAnon") or 0)
            time.sleep(0.01)
            # Unlike the account of all children, this one's alone.
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"predict ended with status {process.returncode}.")
    written = sum(bool(json.loads(line)["objects"]) for line in lines.read_text(encoding="utf-8").splitlines())
    return Measured(frames, written, own / 1e6, usage.ru_maxrss * 1024 / 1e6, usage.ru_utime + usage.ru_stime)


def report(model: str, found: Sequence[Measured], verdict: str) -> str:
    """Returns the table as Markdown."""
    rows = [
        (
            f"{one.frames:,}",
            f"{one.lines:,}",
            f"{one.own_megabytes:.0f}",
            f"{one.whole_megabytes:.0f}",
            f"{one.cpu_seconds:.0f}",
        )
        for one in found
    ]
    columns = ("frames", "JSON lines", "own memory, peak MB", "with files mapped, peak MB", "CPU seconds")
    lines = ["# Memory of predicting a video", "", f"{model}, random weights, frames of {SIZE[0]} x {SIZE[1]} px."]
    lines += [f"{describe_machine()}. Each video in a process of its own, Python and torch included.", ""]
    return "\n".join([*lines, *markdown_table(columns, rows), "", verdict])


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    sys.exit(app())
