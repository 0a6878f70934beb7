"""Frames of a video file or a camera, one after another and never more than are asked for (PyAV)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

from sparsevision.data.videos import is_cut, is_video_name, open_container, rate_of, seconds_of
from sparsevision.errors import import_extra
from sparsevision.inference.images import Frame
from sparsevision.types import Skipped
from sparsevision.wording import count_of

CAMERA = "camera:"
# Addresses of streams that FFmpeg plays.
_STREAMS = ("rtsp://", "rtsps://", "rtmp://", "udp://", "srt://")

# How each system's cameras are opened: the device's name by its number, and FFmpeg's name of the interface.
_CAMERAS = {"linux": ("/dev/video{}", "v4l2"), "darwin": ("{}", "avfoundation"), "win32": ("video={}", "dshow")}
# Containers count frames that a decoder never shows, a few at most; a file that was cut lacks more.
_WHOLE = 0.9


def is_video(source: str) -> bool:
    """Whether a source is a video file, by its suffix, a camera, or a stream, by its address."""
    return is_live(source) or is_video_name(source)


def is_live(source: str) -> bool:
    """Whether a source is a camera or a stream, which goes on until it is stopped."""
    return is_camera(source) or is_stream(source)


def is_camera(source: str) -> bool:
    """Whether a source is a camera, as "camera:0" is."""
    return source.lower().startswith(CAMERA)


def is_stream(source: str) -> bool:
    """Whether a source is the address of a stream that is played."""
    return source.lower().startswith(_STREAMS)


def with_frames(sources: Iterable[str], missing: list[Skipped]) -> Iterator[str | Frame]:
    """Passes images on, and of every video its frames; `missing` receives what cannot be read of videos."""
    for source in sources:
        if is_video(source):
            yield from read_video(source, missing)
        else:
            yield source


def read_video(source: str, missing: list[Skipped]) -> Iterator[Frame]:
    """Yields the frames of a video file, of a camera or of a stream, upright, each decoded when it is asked for.

    A file that breaks off gives what could be read; `missing` receives the reason, in one sentence. Raises
    MissingExtraError if PyAV is not installed.
    """
    av = import_extra("av", "Reading and writing videos")
    number, declared, duration, time = 0, 0, 0.0, -1.0
    path, interface = source, None
    if is_camera(source):
        device, interface = _CAMERAS.get(sys.platform, _CAMERAS["linux"])
        path = device.format(source[len(CAMERA) :])
    try:
        with open_container(path, interface) as container:
            if not container.streams.video:
                missing.append(Skipped(source, f"{source} has no images in it, only sound."))
                return
            [stream, *_] = container.streams.video
            declared, duration = stream.frames, seconds_of(container, stream) or 0.0
            # FFmpeg decodes as many frames ahead as it has threads.
            stream.thread_type = "AUTO"
            rate, start = rate_of(stream), None
            with closing(container.decode(stream)) as decoded:
                for frame in decoded:
                    if start is None:
                        start = float(frame.time or 0.0)
                    if frame.time is not None and frame.time - start > time:
                        time = float(frame.time) - start
                    elif number:
                        # Some encoders leave times out, or give all frames the same: then they are counted.
                        time += 1 / rate
                    else:
                        time = 0.0
                    yield _frame(frame, source, number, time, rate)
                    number += 1
    except av.FFmpegError as error:
        missing.append(Skipped(source, _broken(source, number, str(error.strerror or error))))
        return
    if number < _WHOLE * declared or not number:
        missing.append(Skipped(source, _broken(source, number, f"it was to have {count_of(declared, 'frame')}")))
    elif is_cut(time, duration, duration):
        missing.append(Skipped(source, _broken(source, number, f"it was to last {duration:.1f} seconds")))


def _frame(frame: Any, source: str, number: int, time: float, rate: float) -> Frame:
    image = frame.to_image()
    # Phones store what they see lying, with a note of how they were held.
    if turn := int(getattr(frame, "rotation", 0)):
        image = image.rotate(turn, expand=True)
    return Frame(image=image, video=source, number=number, time=time, rate=rate)


def _broken(source: str, number: int, reason: str) -> str:
    kind = "camera" if is_camera(source) else "video"
    if not number:
        return f"{source} cannot be read as a {kind}: {reason}."
    return f"{source} breaks off after {count_of(number, 'frame, which was', 'frames, which were')} kept: {reason}."
