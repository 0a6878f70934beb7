"""Reading clips of videos: seeking against decoding from the beginning, and whether the loader feeds training.

    python benchmarks/video_reading.py long --images PHOTOGRAPHS
    python benchmarks/video_reading.py loader --data FIGHT

`long` reads 16-frame clips (every fourth frame) at random times of a video of ten minutes, 1280 x 720 at 25 frames a
second, in which a camera moves over the photographs (H.264, a key frame every ten seconds, or as PyAV's FFmpeg has it).
`loader` times the batches of the recipe `fight_nano` as they come out of two worker processes, and the training steps
that consume them.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cyclopts
import numpy as np
import torch
from PIL import Image

from apart import measured_apart
from claims import COLUMNS, Verdict, missed
from publishing import publish
from sparsevision.data.reading import read_image
from sparsevision.data.videos import read_clip
from sparsevision.errors import DataError, UnreadableImageError
from sparsevision.inference.sources import find_images
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.memory import peak_growth
from sparsevision.measure.report import markdown_table
from sparsevision.measure.speed import use_threads
from sparsevision.training import read_recipe
from sparsevision.training.run import make_parts

SIZE, RATE, MINUTES, KEY = (1280, 720), 25, 10, 250
FRAMES, STRIDE = 16, 4
LEAST = 1.3  # clips of the loader over those that training consumes
WAYS = ("seeking, short side of 256", "seeking, full size", "from the beginning, full size")
app = cyclopts.App(help=__doc__)


def film(images: str, path: Path) -> Path:
    """Writes the long video: photographs, over each of which a camera moves for four seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.gop_size = KEY
        stream.options = {"preset": "veryfast"}
        for view in islice(views(images), MINUTES * 60 * RATE):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        container.mux(stream.encode())
    return path


def views(images: str) -> Iterator[np.ndarray]:
    """Yields what the camera sees."""
    paths = list(islice(find_images([images], sys.stdin.buffer, []), 200))
    if not paths:
        raise DataError(f"{images} has no images: name a folder of photographs.")
    for path in cycle(paths):
        try:
            photograph = read_image(path).resize((SIZE[0] + 200, SIZE[1]), Image.Resampling.BILINEAR)
        except UnreadableImageError:
            continue
        pixels = np.asarray(photograph)
        for step in range(0, 200, 2):
            yield np.ascontiguousarray(pixels[:, step : step + SIZE[0]])


def by_seeking(path: str, times: list[float], side: int | None) -> Callable[[], object]:
    """Reads as this package does."""
    return lambda: read_clip(path, times, side=side)


def from_the_beginning(path: str, times: list[float]) -> Callable[[], object]:
    """Decodes all that comes before, and keeps the frames of the clip."""

    def read() -> object:
        wanted, found = [round(each * RATE) for each in times], []
        with av.open(path) as container:
            container.streams.video[0].thread_type = "AUTO"
            for number, frame in enumerate(container.decode(video=0)):
                if number in wanted:
                    found.append(frame.to_ndarray(format="rgb24"))
                if len(found) == len(wanted):
                    break
        return np.stack(found)

    return read


def clip_at(draws: random.Random) -> list[float]:
    """Times of a clip at a random place."""
    first = draws.uniform(0, MINUTES * 60 - FRAMES * STRIDE / RATE - 1)
    first = round(first * RATE) / RATE
    return [first + number * STRIDE / RATE for number in range(FRAMES)]


def call_of(way: str, path: str, times: list[float]) -> Callable[[], object]:
    """Returns the call that reads a clip in one of the ways."""
    if way == WAYS[2]:
        return from_the_beginning(path, times)
    return by_seeking(path, times, 256 if way == WAYS[0] else None)


def memory_here(way: str, path: str) -> float:
    """The growth of this process while it reads the same three clips, in MB."""
    draws = random.Random(1)
    read_clip(path, [0.0], side=16)
    return peak_growth(lambda: [call_of(way, path, clip_at(draws))() for _ in range(3)]).megabytes


@app.command
def long(*, images: str, clips: int = 12, out: Path = Path("benchmarks/results")) -> int:
    """Read random clips of a ten-minute video in each way."""
    draws, times = random.Random(0), {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        path = str(film(images, Path(folder) / "long.mp4"))
        size = Path(path).stat().st_size
        for _ in range(clips):
            at = clip_at(draws)
            frames = {}
            for way in WAYS:
                start = time.perf_counter()
                frames[way] = call_of(way, path, at)()
                times[way].append(time.perf_counter() - start)
            assert np.array_equal(frames[WAYS[1]][0], frames[WAYS[2]]), "the frames of the two ways differ"
        memory = {way: measured_apart(__file__, "memory", way, path) for way in WAYS}
    machine = describe_machine()
    rows = [
        (way, f"{np.median(each) * 1e3:.0f}", f"{max(each) * 1e3:.0f}", f"{memory[way]:.0f}")
        for way, each in times.items()
    ]
    columns = ("way", "ms a clip, median", "ms, most", "memory, MB")
    text = "\n".join([
        "# Reading clips of a long video", "", f"{machine}.", "",
        f"{clips} clips of {FRAMES} frames (every {STRIDE}th) at random times of a video of {MINUTES} minutes, "
        f"{SIZE[0]} x {SIZE[1]} at {RATE} frames a second ({size / 1e6:.0f} MB, a key frame every {KEY} frames). Both "
        "ways at full size gave the same pixels. Memory is the growth of a fresh process while it reads three clips.",
        "", *markdown_table(columns, rows), "",
    ])  # fmt: skip
    publish(out, "video_reading", text, {"machine": asdict(machine), "times": times, "memory": memory})
    return 0


@app.command
def loader(
    *, data: str, image_weights: str = "pretrained", batches: int = 20, threads: int = 2,
    out: Path = Path("benchmarks/results"),
) -> int:  # fmt: skip
    """Time the loader of `fight_nano` alone, and the steps of training."""
    named = {"data.spec": data, "run.workers": 2, "model.backbone": image_weights}
    recipe = read_recipe("fight_nano").with_values(named)
    process: Any = SimpleNamespace(process_index=0, num_processes=1)
    parts = make_parts(recipe, process)
    arriving = (batch for epoch in range(1000) for batch in parts.loaders.train(epoch))
    batch, clips, start = next(arriving), 0, time.perf_counter()
    for _ in range(batches):
        batch = next(arriving)
        clips += len(batch)
    loaded = clips / (time.perf_counter() - start)
    arriving.close()
    with use_threads(threads):
        steps = [step_of(parts, batch)() for _ in range(6)]
    consumed = len(batch) / float(np.median(steps[1:]))
    ratio, machine = loaded / consumed, describe_machine()
    verdict = Verdict(
        "fight_nano", "clips of the loader / clips of training", f"{ratio:.2f}x", f">= {LEAST:.2f}x",
        "met" if ratio >= LEAST else "MISSED",
    )  # fmt: skip
    rows = [("loader alone, two workers", f"{loaded:.1f}"), (f"training steps, {threads} threads", f"{consumed:.1f}")]
    text = "\n".join([
        "# The loader of clips and training", "", f"{machine}.", "",
        f"`fight_nano`: {recipe.settings.transforms.frames} frames of {recipe.settings.transforms.size} px, batches of "
        f"{recipe.data.batch}, {recipe.run.precision}; {batches} batches, and 5 steps after one that is not counted.",
        "", *markdown_table(COLUMNS, [verdict]), "", *markdown_table(("what", "clips a second"), rows), "",
    ])  # fmt: skip
    record = {"machine": asdict(machine), "loaded": loaded, "consumed": consumed, "ratio": ratio}
    publish(out, "video_loader", text, record)
    return missed([verdict])


def step_of(parts: Any, batch: Any) -> Callable[[], float]:
    """Returns the call of one training step, which returns its seconds."""
    optimiser = torch.optim.AdamW(parts.model.parameters(), lr=1e-6)

    def step() -> float:
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            output = parts.model.train()(batch.images)
            losses = parts.task.loss(output, batch, parts.task.count(batch))
        sum(losses.values()).backward()
        optimiser.step()
        optimiser.zero_grad()
        return time.perf_counter() - start

    return step


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        print(json.dumps(memory_here(sys.argv[2], sys.argv[3])))
    else:
        sys.exit(app(result_action="return_value"))
