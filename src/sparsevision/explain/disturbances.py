"""Versions of a picture that hold less than it does, to see whether a model still looks where something is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

Disturbance = Callable[[Image.Image], Image.Image]


def erase(picture: Image.Image, *, share: float = 0.15, count: int = 3, seed: int = 0) -> Image.Image:
    """Blackens `count` seeded rectangles that together cover `share` of the picture (less where they overlap)."""
    draw = np.random.default_rng(seed)
    width, height = picture.size
    erased = picture.convert("RGB")
    for _ in range(count):
        aspect = np.exp(draw.uniform(np.log(0.5), np.log(2.0)))
        area = share * width * height / count
        box_width = min(width, round(np.sqrt(area * aspect)))
        box_height = min(height, round(np.sqrt(area / aspect)))
        left = int(draw.integers(0, width - box_width + 1))
        top = int(draw.integers(0, height - box_height + 1))
        erased.paste((0, 0, 0), (left, top, left + box_width, top + box_height))
    return erased


def pad_zeros(picture: Image.Image, *, share: float = 0.4) -> Image.Image:
    """Puts the picture on black, with `share` of its width and height added on each side."""
    across, down = _margins(picture, share)
    padded = Image.new("RGB", (picture.width + 2 * across, picture.height + 2 * down))
    padded.paste(picture, (across, down))
    return padded


def pad_reflection(picture: Image.Image, *, share: float = 0.4) -> Image.Image:
    """Continues the picture by its mirror image, with `share` of its width and height added on each side."""
    across, down = _margins(picture, share)
    pixels = np.asarray(picture.convert("RGB"))
    return Image.fromarray(np.pad(pixels, ((down, down), (across, across), (0, 0)), mode="symmetric"))


def _margins(picture: Image.Image, share: float) -> tuple[int, int]:
    return round(share * picture.width), round(share * picture.height)


DISTURBANCES: dict[str, Disturbance] = {
    "erased": erase,
    "zero-padded": pad_zeros,
    "reflected": pad_reflection,
}
