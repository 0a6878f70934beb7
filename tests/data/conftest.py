"""Small data sets, made in the test."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ("ant", "bee", "cat")


def jpeg(number: int, width: int = 40, height: int = 32) -> bytes:
    """One of endlessly many different images."""
    draws = np.random.default_rng(number)
    coarse = Image.fromarray(draws.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str = "images", split: str = "", per_class: int = 7, start: int = 0) -> Path:
        root = tmp_path / name
        for label, folder in enumerate(CLASSES):
            home = root / split / folder
            home.mkdir(parents=True, exist_ok=True)
            for number in range(per_class):
                (home / f"{number:03}.jpg").write_bytes(jpeg(start + 1000 * label + number))
        return root

    return make


@pytest.fixture
def make_shard(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, members: dict[str, bytes]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for member, data in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return path

    return make
