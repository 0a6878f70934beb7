"""Small data sets, made in the test."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from coco_folder import as_voc_folder, as_yolo_folder, draw_coco_folder
from small_images import jpeg

CLASSES = ("ant", "bee", "cat")


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


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Twelve images of squares and discs to train on, four to score, in COCO's layout; a module may have others."""
    return draw_coco_folder(tmp_path / "coco", train=12, val=4)


@pytest.fixture
def yolo(coco: Path, tmp_path: Path) -> Path:
    """The same in YOLO's layout."""
    return as_yolo_folder(coco, tmp_path / "yolo")


@pytest.fixture
def voc(coco: Path, tmp_path: Path) -> Path:
    """The same in Pascal VOC's layout."""
    return as_voc_folder(coco, tmp_path / "voc")
