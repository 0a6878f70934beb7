"""Small photographs, drawn: any number of them, no two alike."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def jpeg(number: int, width: int = 40, height: int = 32) -> bytes:
    """One of endlessly many different images."""
    draws = np.random.default_rng(number)
    coarse = Image.fromarray(draws.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()
