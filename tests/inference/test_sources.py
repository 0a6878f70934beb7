"""Sources of a command line: what cannot be meant gets a hint, and addresses and videos are told from files."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from sparsevision.inference.sources import find_images
from sparsevision.inference.video import is_camera, is_video
from sparsevision.types import Skipped


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("/dev/video3", "write camera:3 for it"),
        ("camera", "a camera is a number, as in camera:0"),
        ("camera:x", "a camera is a number, as in camera:0"),
        ("camera:-1", "a camera is a number, as in camera:0"),
        ("CAMERA:", "a camera is a number, as in camera:0"),
        ("0", "write camera:0 for a camera"),
        ("https://a.b/x.png", "is an address, which is not fetched: download it"),
        ("HTTPS:/a.b/x.png", "is an address, which is not fetched: download it"),
        ("sftp://a.b/x.png", "is an address, which is not fetched: download it"),
        ("data:image/png;base64,aaaa", "is an address, which is not fetched: download it"),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_what_cannot_be_meant_gets_a_hint(source: str, said: str, listed: bool) -> None:
    missing: list[Skipped] = []
    lines = io.BytesIO(f"{source}\n".encode())
    assert list(find_images(["-" if listed else source], lines, missing)) == []
    [one] = missing
    assert (one.name, one.reason.endswith(".")) == (source, True)
    assert said in one.reason


@pytest.mark.parametrize("source", ["rtsp://10.0.0.1/a", "RTSP://10.0.0.1/a", "Camera:0", "udp://@:1234"])
@pytest.mark.parametrize("listed", [False, True])
def test_addresses_of_streams_stay_as_they_are(source: str, listed: bool) -> None:
    assert is_video(source)
    assert is_camera(source) is source.startswith("C")
    lines = io.BytesIO(f"{source}\n".encode())
    assert list(find_images(["-" if listed else source], lines, [])) == [source]


@pytest.mark.parametrize("suffix", ["264", "h264", "265", "HEVC", "f4v", "qt", "asf", "mxf", "vob", "m2v", "y4m"])
def test_videos_are_known_by_their_suffix(suffix: str) -> None:
    assert is_video(f"a/b.{suffix}")


def test_videos_in_a_folder_are_said_to_be_read_where_they_are_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for name in ("a.mp4", "b.MOV", ".hidden.mp4", "c.heic"):
        (tmp_path / name).touch()
    missing: list[Skipped] = []
    assert list(find_images([str(tmp_path)], io.BytesIO(), missing)) == [str(tmp_path / "a.png")]
    videos, others = (one.reason for one in missing)
    assert videos.endswith("Not read as part of a folder: 2 videos; name each one to read it.")
    assert others.endswith("Not read: 1 file beside the images, by their suffix (.heic 1).")
