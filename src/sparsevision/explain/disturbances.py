"""Disturbed versions of an image: erased, padded with zeros, padded with its reflection."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

Disturbance = Callable[[Image.Image], Image.Image]


def erase(image: Image.Image, *, share: float = 0.15, count: int = 3, seed: int = 0) -> Image.Image:
    """Blackens `count` seeded rectangles that together cover `share` of the image (less where they overlap)."""
    draw = np.random.default_rng(seed)
    width, height = image.size
    erased = image.convert("RGB")
    for _ in range(count):
        aspect = np.exp(draw.uniform(np.log(0.5), np.log(2.0)))
        area = share * width * height / count
        box_width = min(width, round(np.sqrt(area * aspect)))
        box_height = min(height, round(np.sqrt(area / aspect)))
        left = int(draw.integers(0, width - box_width + 1))
        top = int(draw.integers(0, height - box_height + 1))
        erased.paste((0, 0, 0), (left, top, left + box_width, top + box_height))
    return erased


def pad_zeros(image: Image.Image, *, share: float = 0.4) -> Image.Image:
    """Puts the image on black, with `share` of its width and height added on each side."""
    across, down = _margins(image, share)
    padded = Image.new("RGB", (image.width + 2 * across, image.height + 2 * down))
    padded.paste(image, (across, down))
    return padded


def pad_reflection(image: Image.Image, *, share: float = 0.4) -> Image.Image:
    """Continues the image by its mirror image, with `share` of its width and height added on each side."""
    across, down = _margins(image, share)
    pixels = np.asarray(image.convert("RGB"))
    return Image.fromarray(np.pad(pixels, ((down, down), (across, across), (0, 0)), mode="symmetric"))


def _margins(image: Image.Image, share: float) -> tuple[int, int]:
    return round(share * image.width), round(share * image.height)


DISTURBANCES: dict[str, Disturbance] = {
    "erased": erase,
    "zero-padded": pad_zeros,
    "reflected": pad_reflection,
}
