"""Bad input of models of videos: files of every odd kind, folders of them, lists, shards, and views that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import Bench, encoded, photograph
from rows import Row, nothing, read, refused, skipped

from video_folder import draw_video_folder, moving_square, numbered, write_video

LEARN = "train --recipe videos_nano --out {out} --data {bad} " + " ".join(
    f"--set {field}"
    for field in (
        "model.backbone=none", "model.config.num_tokens=4", "model.config.num_points=4", "model.config.inflation=1",
        "model.config.feature_channels=8", "model.config.focusing_width=64", "model.config.cortex_width=64",
        "model.config.cortex_depth=1", "data.batch=3", "transforms.size=32", "transforms.frames=4",
        "transforms.clip_seconds=1", "schedule.epochs=1", "schedule.warmup_epochs=0", "ema.decay=0", "run.workers=0",
    )
)  # fmt: skip
TELL = "predict {bad} {film} --model {teller}"
SCORE = "evaluate {teller} --data {bad}"
SQUARE = moving_square(0, right=True)
FIRST = "train/left/00.mp4"


def film(frames: Any = SQUARE, name: str = "odd.mkv", **options: Any) -> Callable[[Bench], Path]:
    """A video of its own."""
    return lambda b: write_video(b.place / name, frames, **options)


def stored(content: bytes, name: str = "odd.mp4") -> Callable[[Bench], Path]:
    """A file of bytes."""
    return lambda b: b.file(name, content)


def cut(name: str, share: float, **options: Any) -> Callable[[Bench], Path]:
    """A video that stops in the middle."""

    def make(b: Bench) -> Path:
        path = write_video(b.place / name, moving_square(0, right=True, count=60), gop_size=6, **options)
        return b.cut(path, int(path.stat().st_size * share))

    return make


def sound(b: Bench, name: str = "odd.mkv") -> Path:
    """A file with sound alone."""
    import av

    path = b.place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        silence.sample_rate = 8000
        out.mux(stream.encode(silence))
        out.mux(stream.encode())
    return path


def turned(b: Bench) -> Path:
    """A video that a phone stored lying, with a note of how it was held."""
    path = write_video(b.place / "odd.mp4", SQUARE)
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    matrix = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    data[place : place + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(data)
    return path


def of_no_length(b: Bench) -> Path:
    """A video whose headers say that it lasts for no time."""
    path = write_video(b.place / "odd.mp4", SQUARE)
    data = bytearray(path.read_bytes())
    for name, place in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        start = data.index(name) + place
        data[start : start + 4] = bytes(4)
    path.write_bytes(data)
    return path


def without_times(b: Bench) -> Path:
    """Frames one after another, without a container around them."""
    return write_video(b.place / "odd.m1v", SQUARE, codec="mpeg1video", rate=25)


def interlaced(b: Bench) -> Path:
    """A video whose frames are of two half-frames each."""
    return write_video(b.place / "odd.mpg", SQUARE, codec="mpeg2video", rate=25, flags=(1 << 18) | (1 << 29))


def lost_camera(b: Bench) -> str:
    """A camera that gives some frames and is gone."""
    from sparsevision.inference import video

    path = cut("camera.mkv", 0.5)(b)
    patch = pytest.MonkeyPatch()
    patch.setattr(video, "_CAMERAS", {"linux": (str(path), "matroska")})
    b.left.callback(patch.undo)
    return "camera:0"


def films(b: Bench) -> Path:
    """A sound data set."""
    return draw_video_folder(b.place / "bad")


def put(content: bytes, name: str = FIRST) -> Callable[[Bench], Path]:
    """A data set with other bytes in one file."""
    return lambda b: (films(b), b.file(f"bad/{name}", content))[0]


def changed(change: Callable[[Path], object]) -> Callable[[Bench], Path]:
    """A data set in which something else was done."""

    def make(b: Bench) -> Path:
        change(folder := films(b))
        return folder

    return make


def listed(lines: str) -> Callable[[Bench], Path]:
    """A data set with a list."""
    return lambda b: (films(b), b.file("bad/train.csv", lines))[0]


def every(b: Bench, split: str) -> Path:
    folder = films(b)
    for path in (folder / split).rglob("*.mp4"):
        path.write_bytes(b"x")
    return folder


def without_class(folder: Path) -> None:
    for path in (folder / "train" / "left").iterdir():
        path.unlink()


TEN_BITS = {"codec": "ffv1", "pix_fmt": "yuv420p10le"}
VIDEOS = [
    Row("rate that varies", "a video whose frames are shown for different times",
        TELL, film(numbered(7), times=[0.0, 0.1, 0.2, 1.0, 1.05, 3.0, 3.5]), read("odd.mkv#0.00-1.00 s")),
    Row("turned", "a video that is stored lying",
        TELL, turned, read("odd.mp4#")),
    Row("one frame", "a video of one frame",
        TELL, film(SQUARE[:1]), read("odd.mkv#")),
    Row("two frames", "a video of two frames",
        TELL, film(SQUARE[:2]), read("odd.mkv#")),
    Row("one pixel", "a video of one pixel",
        TELL, film(SQUARE[:, :1, :1], codec="ffv1", pix_fmt="yuv444p"), read("odd.mkv#")),
    Row("large", "a video of 3840 x 2160 pixels",
        TELL, film(np.zeros((2, 2160, 3840, 3), np.uint8)), read("odd.mkv#")),
    Row("10 bits", "a video of 10 bits a value",
        TELL, film(**TEN_BITS), read("odd.mkv#")),
    Row("odd sides", "a video of odd sides",
        TELL, film(SQUARE[:, :47, :63], codec="ffv1", pix_fmt="yuv444p"), read("odd.mkv#")),
    Row("grey", "a video without colours",
        TELL, film(codec="ffv1", pix_fmt="gray"), read("odd.mkv#")),
    Row("interlaced", "a video of half-frames",
        TELL, interlaced, read("odd.mpg#")),
    Row("without times", "frames without times",
        TELL, without_times, read("odd.m1v#")),
    Row("no length", "a video whose headers say that it lasts for no time",
        TELL, of_no_length, read("odd.mp4#")),
    Row("sound alone", "a file with sound alone",
        TELL, sound, skipped("odd.mkv has no images in it, only sound")),
    Row("truncated MP4", "a video whose index was cut off",
        TELL, cut("odd.mp4", 0.9), skipped("odd.mp4 cannot be read as a video")),
    Row("truncated MKV", "a video that stops in the middle",
        TELL, cut("odd.mkv", 0.5), skipped("odd.mkv breaks off after", "it was to last 7.5 seconds")),
    Row("empty", "a video of 0 bytes",
        TELL, stored(b""), skipped("odd.mp4 cannot be read as a video")),
    Row("text", "a text that is called a video",
        TELL, stored(b"no video at all"), skipped("odd.mp4 cannot be read as a video")),
    Row("image for a video", "an image and a model of videos",
        "predict {image} {film} --model {teller}", nothing, skipped("good.png does not have the suffix of a video")),
    Row("animation for a video", "a GIF and a model of videos",
        TELL, stored(encoded(photograph(), "GIF"), "odd.gif"), skipped("odd.gif does not have the suffix of a video")),
    Row("folder of images", "a folder without videos",
        TELL, lambda b: b.folder("none"), skipped("none has no videos in it")),
    Row("camera that goes", "a camera that gives some frames and is gone",
        "predict {bad} --model {teller}", lost_camera, skipped("camera:0 breaks off after")),
    Row("video for an explanation", "sound alone, to be explained",
        "explain {bad} --model {teller} --out {out}", sound, refused("only sound")),
    Row("broken in train", "a video that is none, to learn from",
        LEARN, put(b"no video"), skipped("00.mp4 cannot be read as a video")),
    Row("sound in train", "sound alone, to learn from",
        LEARN, lambda b: (films(b), (b.place / "bad" / FIRST).unlink(), sound(b, "bad/train/left/00.mkv"))[0] and
        b.place / "bad", skipped("00.mkv cannot be read as a video: it has no images in it, only sound")),
    Row("every video broken", "a split without a sound video",
        LEARN, lambda b: every(b, "val"), refused("None of the 4")),
    Row("nothing to score", "a data set to score without a sound video",
        SCORE, lambda b: every(b, "val"), refused("None of the 4")),
    Row("class without videos", "a class folder without videos",
        LEARN, changed(without_class), refused("left has no videos (.mp4, .mkv, .webm, ...)")),
    Row("other classes", "videos of other classes than the model's",
        SCORE, changed(lambda folder: [path.rename(path.with_name("up")) for path in folder.glob("*/left")]),
        refused("'up'")),
    Row("videos for a classifier", "videos, and a model of images",
        "train --data {bad} --model sparseformer_nano --out {out}", films, refused("for video_classification")),
    Row("images for a model of videos", "images, and a model of videos",
        "train --data {data} --model video_sparseformer_nano --out {out}", nothing, refused("has no videos")),
    Row("no frames", "clips without a frame",
        LEARN + " --set transforms.frames=0", films, refused("transforms.frames")),
    Row("two lengths", "clips whose length is said in two ways",
        LEARN + " --set transforms.frame_stride=2", films, refused("frame_stride and clip_seconds were both given")),
    Row("no copies", "tokens that are repeated no times",
        LEARN + " --set model.config.inflation=0", films, refused("inflation")),
    Row("features of patches", "a video model that reads patches",
        LEARN + " --set model.config.image_feature=patch", films, refused("image_feature")),
    Row("digits without photographs", "digits that move over a folder that is not there",
        "train --recipe moving_digits_nano --data moving-digits:{bad}/none --out {out}", films, refused("none")),
    Row("list of nothing", "a list of videos that are not there",
        LEARN, listed("a.mp4 left\nb.mp4 right\n"), refused("None of the 2 videos")),
    Row("list with a gap", "a list with a line that has no label",
        LEARN, listed("train/left/00.mp4 left\nnothing\n"), refused("line 2", "not a path and a label")),
]  # fmt: skip
