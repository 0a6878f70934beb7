"""Clips of videos: the right frame at every time, whatever the file is like, or one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sparsevision.data import videos
from sparsevision.data.videos import Video, probe_video, read_clip
from sparsevision.errors import UnreadableImageError
from sparsevision.inference.video import read_video
from sparsevision.types import Skipped
from video_folder import numbered, numbers_of, write_video

av = pytest.importorskip("av")


def test_the_frame_that_is_shown_at_each_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(40), rate=10)
    frames, info = read_clip(path, [0.0, 0.05, 0.1, 0.99, 1.0, 2.55, 3.9, 9.0])
    assert numbers_of(frames) == [0, 0, 1, 9, 10, 25, 39, 39]
    assert frames.shape == (8, 48, 64, 3)
    assert (info.rate, info.frames, info.size, info.rotation) == (10.0, 40, (48, 64), 0)
    assert info.duration == pytest.approx(4.0)


def test_seeking_gives_what_decoding_from_the_beginning_gives(tmp_path: Path) -> None:
    path = write_video(tmp_path / "long.mp4", numbered(60), rate=5, gop_size=7)
    times = [0.0, 0.5, 4.3, 4.4, 8.05, 11.7]
    wanted = [int(time * 5 + 1e-6) for time in times]
    assert numbers_of(read_clip(path, times)[0]) == wanted
    for time, number in zip(times, wanted, strict=True):
        assert numbers_of(read_clip(path, [time])[0]) == [number]
    assert numbers_of(read_clip(path.read_bytes(), times)[0]) == wanted


@pytest.mark.parametrize("name", ["one.mp4", "one.mkv"])
def test_what_lies_behind_one_key_frame_is_decoded_once(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / name, numbered(250), rate=5, gop_size=1000)
    decoded, go_on = [], videos._Video._next
    monkeypatch.setattr(videos._Video, "_next", lambda video: decoded.append(1) or go_on(video))
    times = [0.0, *(3.0 * number + 0.05 for number in range(1, 16))]
    assert numbers_of(read_clip(path, times)[0]) == [0, *range(15, 240, 15)]
    # Matroska tells where its key frames are with the first seek alone.
    assert len(decoded) <= (15 * 15 + 2 if name == "one.mp4" else 2 * 250)  # with the first, and the one ahead


def test_a_clip_in_the_middle_is_sought_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(250), rate=5, gop_size=100)
    decoded, go_on = [], videos._Video._next
    monkeypatch.setattr(videos._Video, "_next", lambda video: decoded.append(1) or go_on(video))
    with av.open(str(path)) as file:
        key = max(frame.time for frame in file.decode(video=0) if frame.key_frame and frame.time < 37)
    assert key < 33
    assert numbers_of(read_clip(path, [33.05, 37.05])[0]) == [165, 185]
    assert len(decoded) <= 5 * (38 - key) + 3  # from the key frame on, the first and the one ahead


@pytest.mark.parametrize(("name", "codec"), [("a.h264", "libx264"), ("a.m1v", "mpeg1video"), ("a.m4v", "mpeg4")])
def test_streams_without_a_container(tmp_path: Path, name: str, codec: str) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    write_video(tmp_path / "a.mkv", numbered(100), rate=25, codec=codec)
    with av.open(str(tmp_path / "a.mkv")) as source, av.open(str(tmp_path / name), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    frames, info = read_clip(tmp_path / name, [0.02, 1.02, 2.02, 3.9])
    assert info.duration == pytest.approx(4.0, abs=0.1)
    assert numbers_of(frames) == pytest.approx([0, 25, 50, 97], abs=2)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_sound_that_lasts_longer_than_the_images(tmp_path: Path, name: str) -> None:
    with av.open(str(tmp_path / name), "w") as out:
        stream, sound = out.add_stream("mpeg4", rate=10), out.add_stream("aac", rate=8000, layout="mono")
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in numbered(20):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8 * 8000), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        out.mux(sound.encode(silence))
        out.mux(sound.encode())
    frames, info = read_clip(tmp_path / name, [0.05, 1.95, 5.0])
    assert info.duration == pytest.approx(2.0, abs=0.11)
    assert numbers_of(frames) == [0, 19, 19]
    missing: list[Skipped] = []
    assert len(list(read_video(str(tmp_path / name), missing))) == 20
    assert not missing


def test_times_count_where_the_rate_varies(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.2, 1.0, 1.05, 3.0, 3.5]
    path = write_video(tmp_path / "varies.mkv", numbered(7), times=times)
    assert numbers_of(read_clip(path, [0.0, 0.15, 0.9, 1.0, 1.04, 2.9, 3.2, 3.6])[0]) == [0, 1, 2, 3, 3, 4, 5, 6]


@pytest.mark.parametrize("count", [1, 2])
def test_very_short_videos(tmp_path: Path, count: int) -> None:
    path = write_video(tmp_path / "short.mp4", numbered(count), rate=10)
    frames, info = read_clip(path, [0.0, 0.1, 0.2, 1.0])
    assert numbers_of(frames) == ([0, 0, 0, 0] if count == 1 else [0, 1, 1, 1])
    assert info.duration == pytest.approx(count / 10, abs=0.05)


@pytest.mark.parametrize(("codec", "pix_fmt", "size"), [
    ("mpeg4", "yuv420p", (50, 66)), ("libx264", "yuv420p10le", (48, 64)), ("ffv1", "yuv444p", (47, 63)),
    ("ffv1", "gray", (48, 64)), ("mjpeg", "yuvj422p", (48, 64)),
])  # fmt: skip
def test_odd_sides_and_other_pixels(tmp_path: Path, codec: str, pix_fmt: str, size: tuple[int, int]) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"no {codec} here")
    path = write_video(tmp_path / "odd.mkv", numbered(8, size), codec=codec, pix_fmt=pix_fmt)
    frames, info = read_clip(path, [0.0, 0.5])
    assert frames.shape == (2, *size, 3)
    assert info.size == size
    assert numbers_of(frames) == [0, 4]


def test_frames_are_reduced_to_a_side(tmp_path: Path) -> None:
    path = write_video(tmp_path / "large.mp4", numbered(4, (96, 160)))
    assert read_clip(path, [0.0], side=32)[0].shape == (1, 32, 53, 3)
    assert read_clip(path, [0.0], side=96)[0].shape == (1, 96, 160, 3)
    assert read_clip(path, [0.0], side=500)[0].shape == (1, 96, 160, 3)


def test_frames_without_times_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "raw.m4v"
    write_video(tmp_path / "a.avi", numbered(20), rate=10)
    with av.open(str(tmp_path / "a.avi")) as source, path.open("wb") as out:
        for packet in source.demux(video=0):
            out.write(bytes(packet))
    frames, info = read_clip(path, [0.0, 1 / info_rate(path), 5 / info_rate(path)])
    assert numbers_of(frames) == [0, 1, 5]
    assert info.frames == 20


def info_rate(path: Path) -> float:
    return probe_video(path).rate


def test_what_is_no_video_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    with av.open(str(tmp_path / "sound.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), dtype=np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        out.mux(stream.encode(sound))
        out.mux(stream.encode())
    whole = write_video(tmp_path / "whole.mp4", numbered(30))
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:-900])
    for name in ("text", "empty", "folder", "sound", "cut", "missing"):
        with pytest.raises(UnreadableImageError, match=rf"{name}\.mp4 cannot be read as a video: [^.]+\.$"):
            read_clip(tmp_path / f"{name}.mp4", [0.0])


def test_a_file_that_breaks_off_is_not_read_past_its_end(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mkv", numbered(60), rate=10, gop_size=5)
    data = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) // 2])
    assert numbers_of(read_clip(cut, [0.0, 1.0])[0]) == [0, 10]
    with pytest.raises(UnreadableImageError, match=r"breaks off after \d\.\d of 6\.0 seconds"):
        read_clip(cut, [0.0, 5.5])


def test_a_video_turned_by_its_phone_is_upright(tmp_path: Path) -> None:
    frames = numbered(4, (48, 64))
    frames[:, :10] = 250  # the upper edge as it is stored
    path = write_video(tmp_path / "stored.mp4", frames)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(with_turn(path.read_bytes()))
    shown, info = read_clip(turned, [0.0])
    assert info.rotation in (90, 270)
    assert info.size == (64, 48) == shown.shape[1:3]
    bright = shown[0].mean(-1) > 180
    assert bright[:, :9].all() or bright[:, -9:].all()


def with_turn(data: bytes) -> bytes:
    """Turns an MP4 by a quarter in the matrix of its track's header."""
    place = data.index(b"tkhd") + 4 + 40
    quarter = b"".join(
        value.to_bytes(4, "big", signed=True) for value in (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    )
    return data[:place] + quarter + data[place + 36 :]


def test_a_handle_reads_when_it_is_asked(tmp_path: Path) -> None:
    video = Video(str(tmp_path / "later.mp4"))
    write_video(tmp_path / "later.mp4", numbered(10), rate=10)
    assert video.info.frames == 10
    assert numbers_of(video.read([0.3, 0.8])) == [3, 8]


def test_a_title_in_any_encoding(tmp_path: Path) -> None:
    path = write_video(tmp_path / "titled.mp4", numbered(4), metadata={"title": "plain"})
    path.write_bytes(path.read_bytes().replace(b"plain", b"pl\xff\xfen"))
    assert numbers_of(read_clip(path, [0.0])[0]) == [0]
