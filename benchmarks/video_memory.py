"""Does predicting a long video take more memory than a short one? Peak memory of the command itself, frames of 320 px.

    python benchmarks/video_memory.py --images PHOTOGRAPHS
    python benchmarks/video_memory.py --images PHOTOGRAPHS --model video_sparseformer_nano --frames 1500 180000

A camera moves over the photographs; a video of more than a minute is that minute's again and again (two hours are
180,000 frames). The detector has random weights and keeps its 100 best boxes of every frame; a model of videos tells
windows of two seconds. Each length is one `sparsevision predict VIDEO --json` in a process of its own. What counts is
the process's own memory, read every hundredth of a second (RssAnon). Its maximum resident set counts pages of
libraries' files, too, as many as the system happens to hold: on a busy machine it was from 865 to 1152 MB, in no order
with the length. Status 1 if the longest video takes over 10 % more than the shortest, or a line is missing; needs
Linux.
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
from fractions import Fraction
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
from sparsevision.models.registry import variant_named
from sparsevision.types import Preprocessing

MORE = 1.10  # the claim: peak of the longest over that of the shortest
SIZE = (320, 240)
SHOWN, STEP = 50, 2  # frames over one photograph, and pixels between two frames
RATE, MINUTE, WINDOW = 25, 1500, 50  # frames a second, of a minute, and of a window
_Several = cyclopts.Parameter(consume_multiple=True, negative="")


@dataclass(frozen=True)
class Measured:
    """One video: frames, lines that were written, peaks of the process in MB (a million bytes)."""

    frames: int
    lines: int
    expected: int
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
        each = WINDOW if variant_named(model).preprocessing.frames else 1
        found = [measure(film(images, number, Path(folder)), number, weights, each) for number in sorted(frames)]
    shortest, longest = found[0], found[-1]
    ratio = longest.own_megabytes / shortest.own_megabytes
    held = ratio <= MORE and all(one.lines == one.expected for one in found)
    verdict = (
        f"Own memory of {longest.frames:,} frames over that of {shortest.frames:,}: {ratio:.3f} (at most {MORE:.2f}): "
        f"{'met' if held else 'MISSED'}."
    )
    whole = {"machine": asdict(describe_machine()), "model": model, "ratio": ratio, "videos": list(map(asdict, found))}
    name = "video_memory" if each == 1 else "clip_memory"
    publish(out, name, report(model, found, verdict), whole)
    return 0 if held else 1


def make_weights(model: str, folder: Path) -> Path:
    """Saves a detector of random weights that sees frames as they are, or a model of videos with its usual view."""
    torch.manual_seed(0)
    made, shown = create_model(model, num_classes=3), variant_named(model).preprocessing
    if shown.frames is None:
        shown = Preprocessing(size=(SIZE[1], SIZE[0]), fit="short", interpolation="bilinear")
    return save_checkpoint(folder, made, name=model, preprocessing=shown, labels=("ant", "bee", "cat"))


def film(images: str, frames: int, folder: Path) -> Path:
    """Writes a video in which a camera moves over photographs; from a minute on it begins again, without encoding."""
    path = folder / f"{frames}.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.max_b_frames = 0
        minute = [
            packet
            for view in islice(views(images), min(frames, MINUTE))
            for packet in stream.encode(av.VideoFrame.from_image(view))
        ]
        minute += stream.encode()
        coded = [(bytes(packet), packet.is_keyframe) for packet in minute]
        for number, (data, is_key) in zip(range(frames), cycle(coded), strict=False):
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, RATE), is_key
            packet.pts = packet.dts = number
            packet.duration = 1
            container.mux(packet)
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


def measure(video: Path, frames: int, weights: Path, each: int) -> Measured:
    """Predicts a video with the command, in a process of its own; a line is to come of `each` frames."""
    lines = video.with_suffix(".jsonl")
    words = ["predict", str(video), "--model", str(weights), "--json", "--device", "cpu"]
    words += ["--threshold", "0"] if each == 1 else []
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
    told = map(json.loads, lines.read_text(encoding="utf-8").splitlines())
    written = sum(bool(line.get("objects") or line.get("classes")) for line in told)
    return Measured(
        frames, written, frames // each, own / 1e6, usage.ru_maxrss * 1024 / 1e6, usage.ru_utime + usage.ru_stime
    )


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
