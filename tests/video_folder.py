"""Draws a small data set of videos, a bright square that goes to the left or to the right, and makes films."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE = 8


def write_video(
    path: Path, frames: NDArray[np.uint8], *, rate: Any = RATE, codec: str = "mpeg4", **options: Any
) -> Path:
    """Writes frames (T, H, W, 3); `times` in seconds make the rate a variable one."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    times = options.pop("times", None)
    with av.open(str(path), "w", options=options.pop("container", {})) as out:
        out.metadata.update(options.pop("metadata", {}))
        stream = out.add_stream(codec, rate=Fraction(rate).limit_denominator(1000))
        stream.width, stream.height = frames.shape[2], frames.shape[1]
        stream.pix_fmt = options.pop("pix_fmt", "yuv420p")
        stream.codec_context.max_b_frames = 0
        for name, value in options.items():
            setattr(stream.codec_context, name, value)
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, frame in enumerate(frames):
            shown = av.VideoFrame.from_ndarray(frame, format="rgb24")
            if times is not None:
                shown.time_base, shown.pts = Fraction(1, 1000), round(times[number] * 1000)
            out.mux(stream.encode(shown))
        out.mux(stream.encode())
    return path


def numbered(count: int, size: tuple[int, int] = (48, 64)) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) that tell their number: its 8 bits are dark and bright stripes, side by side."""
    bits = np.unpackbits(np.arange(count, dtype=np.uint8)[:, None], axis=1)
    places = np.arange(size[1]) * 8 // size[1]
    row = 40 + 170 * bits[:, places]
    return np.broadcast_to(row[:, None, :, None], (count, *size, 3)).astype(np.uint8)


def numbers_of(frames: NDArray[np.uint8]) -> list[int]:
    """The numbers of such frames after decoding."""
    centres = (np.arange(8) * 2 + 1) * frames.shape[2] // 16
    bright = frames[:, :, centres].mean((1, 3)) > 128
    return [int(number) for number in np.packbits(bright, axis=1)[:, 0]]


def moving_square(seed: int, *, right: bool, count: int = 12, size: tuple[int, int] = (48, 64)) -> NDArray[np.uint8]:
    """Frames of a square on grey that goes to one side."""
    draws = np.random.default_rng(seed)
    frames = np.full((count, *size, 3), draws.integers(40, 90), dtype=np.uint8)
    top, side = int(draws.integers(0, size[0] - 16)), 16
    for number in range(count):
        step = round(number * (size[1] - side) / (count - 1))
        left = step if right else size[1] - side - step
        frames[number, top : top + side, left : left + side] = (240, 200, 40)
    return frames


def draw_video_folder(root: Path, *, train: int = 3, val: int = 2) -> Path:
    """Writes SPLIT/CLASS/NN.mp4 of the classes "left" and "right"."""
    for split, count in (("train", train), ("val", val)):
        for label, name in enumerate(("left", "right")):
            for number in range(count):
                seed = 100 * (split == "val") + 10 * label + number
                write_video(root / split / name / f"{number:02d}.mp4", moving_square(seed, right=name == "right"))
    return root


def save_tiny_teller(place: Path) -> Path:
    """Writes a checkpoint of an untrained model that tells "left" from "right" in 4 frames of 32 pixels."""
    import torch

    from sparsevision import create_model
    from sparsevision.checkpoints import save_checkpoint
    from sparsevision.types import Preprocessing

    torch.manual_seed(0)
    name = "video_sparseformer_nano"
    small = {"num_tokens": 4, "num_points": 4, "feature_channels": 8, "focusing_width": 64, "cortex_width": 64}
    model = create_model(name, num_classes=2, inflation=2, cortex_depth=1, **small)
    shown = Preprocessing(size=(32, 32), crop_fraction=1.0, frames=4, clip_seconds=1.0)
    save_checkpoint(place, model, name=name, preprocessing=shown, labels=("left", "right"))
    return place
