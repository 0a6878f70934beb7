"""Videos among the images: read as frames are asked for, kept as far as they go, drawn as a video again."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsevision import cli
from sparsevision.inference import Predictor
from sparsevision.inference import video as reading
from sparsevision.inference.images import Frame
from sparsevision.inference.video import is_video, read_video, with_frames
from sparsevision.types import Skipped
from tiny_detector import save_tiny_detector

av = pytest.importorskip("av")


def film(path: Path, frames: int, size: tuple[int, int] = (96, 64)) -> Path:
    """Writes a video of a brightening slope, 10 frames a second."""
    slope = np.linspace(0, 120, size[0]).astype(np.uint8)[None, :, None].repeat(size[1], 0).repeat(3, 2)
    # With its index in front, a file that is cut can still be opened.
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"} if "cut" in path.name else {}) as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(slope + np.uint8(4 * number), format="rgb24")))
        out.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_detector(tmp_path_factory.mktemp("weights") / "tiny")


def test_frames_come_in_order_with_their_times(tmp_path: Path) -> None:
    missing: list[Skipped] = []
    frames = list(read_video(str(film(tmp_path / "clip.mp4", 7)), missing))
    assert [frame.number for frame in frames] == list(range(7))
    assert [frame.time for frame in frames] == pytest.approx([n / 10 for n in range(7)])
    assert frames[3].name == f"{tmp_path / 'clip.mp4'}#frame 3"
    assert frames[0].image.size == (96, 64)
    brightness = [np.asarray(frame.image).mean() for frame in frames]
    assert brightness == sorted(brightness)
    assert missing == []


def test_a_video_is_never_read_further_than_a_batch(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = 0
    own = reading._frame

    def counting(*given: object) -> Frame:
        nonlocal decoded
        decoded += 1
        return own(*given)

    monkeypatch.setattr(reading, "_frame", counting)
    stream = Predictor(weights, "cpu", batch_size=3).stream(with_frames([str(film(tmp_path / "clip.mp4", 20))], []))
    assert decoded == 0
    for taken in range(1, 8):
        next(stream)
        assert decoded <= 3 * (1 + (taken - 1) // 3)
    stream.close()


def test_a_video_that_breaks_off_keeps_what_was_read(tmp_path: Path) -> None:
    whole = film(tmp_path / "cut.mp4", 60)
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) // 2])
    missing: list[Skipped] = []
    frames = list(read_video(str(whole), missing))
    assert 0 < len(frames) < 60
    assert [frame.number for frame in frames] == list(range(len(frames)))


@pytest.mark.parametrize("content", [b"", b"no video at all", b"\0\0\0\x18ftypmp42" + b"\0" * 200])
def test_what_is_no_video_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    missing: list[Skipped] = []
    assert list(read_video(str(path), missing)) == []
    [one] = missing
    assert one.name == str(path)
    assert "cannot be read as a video" in one.reason
    assert one.reason.endswith(".")
    assert "\n" not in one.reason


def test_a_camera_that_there_is_not_is_one_sentence() -> None:
    missing: list[Skipped] = []
    assert list(islice(read_video("camera:77", missing), 1)) == []
    assert "camera:77 cannot be read as a camera" in missing[0].reason
    assert is_video("camera:0")
    assert is_video("a/b.MP4")
    assert not is_video("a/b.png")


def test_images_and_videos_give_lines_and_drawn_files(tmp_path: Path, weights: Path, capsys) -> None:
    clip = film(tmp_path / "clip.mp4", 9, (95, 63))
    Image.new("RGB", (64, 48), "grey").save(tmp_path / "one.png")
    sources = [str(clip), str(tmp_path / "one.png"), str(tmp_path / "nix.mp4")]
    out = tmp_path / "drawn"
    assert cli.main(["predict", *sources, "--model", str(weights), "--json", "--draw", str(out)]) == 0
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [line["name"] for line in lines] == [*(f"{clip}#frame {n}" for n in range(9)), str(tmp_path / "one.png")]
    assert [line["time"] for line in lines[:9]] == pytest.approx([n / 10 for n in range(9)])
    assert "time" not in lines[9]
    assert "nix.mp4 cannot be read as a video" in printed.err
    assert sorted(path.name for path in out.glob("[!.]*")) == ["clip.mp4", "one.png"]
    drawn = list(read_video(str(out / "clip.mp4"), []))
    assert len(drawn) == 9
    assert drawn[0].image.size == (94, 62)
    assert drawn[0].rate == pytest.approx(10)
    original = next(iter(read_video(str(clip), []))).image.crop((0, 0, 94, 62))
    assert np.abs(np.asarray(drawn[0].image).astype(int) - np.asarray(original)).max() > 60
