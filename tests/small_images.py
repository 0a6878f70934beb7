"""Small photographs, drawn: any number of them, no two alike."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def jpeg(number: int, width: int = 40, height: int = 32) -> bytes:
    """One of endlessly many different images."""
    draws = np.random.default_rng(number)
    coarse = Image.fromarray(draws.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    """Writes an archive of files."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
