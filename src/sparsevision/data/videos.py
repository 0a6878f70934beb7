"""Clips of a video: frames at chosen times, decoded from the nearest point that decoding can begin at (PyAV).

Whatever is wrong with a file ends as an `UnreadableImageError`, as for images.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sparsevision.errors import UnreadableImageError, import_extra

VIDEO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("mp4", "m4v", "mov", "qt", "mkv", "webm", "avi", "divx", "wmv", "asf", "flv", "f4v", "3gp", "3g2", "ogv"),
        *("mpg", "mpeg", "mpe", "m1v", "m2v", "ts", "mts", "m2ts", "m2t", "vob", "mod", "tod", "mxf", "dv", "rm"),
        *("rmvb", "ogm", "mjpeg", "mjpg", "y4m", "264", "h264", "avc", "265", "h265", "hevc", "ivf", "obu", "nut"),
    )
)
USUAL_RATE = 25.0  # frames a second, of a video that declares none
MOST_PIXELS = 1 << 26  # of a frame
_TIMEOUT = 20  # seconds without an answer
# Frames up to here are decoded and dropped rather than sought; most videos have a key frame more often than this.
_NEAR = 1.0
_SOON = 1e-4  # seconds that two spellings of the same time may differ by
# How far a file may end before its declared duration without being one that was cut.
_SHARE_MISSING, _SECONDS_MISSING = 0.1, 1.0

VideoSource = str | os.PathLike[str] | bytes


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a file declares: `duration` in seconds, `rate` in frames a second, upright (height, width), its turn.

    `frames` is their number, which some files declare and others give by duration and rate. Not `timed` are files whose
    frames have no times of their own: these are counted at the rate.
    """

    duration: float
    rate: float
    frames: int
    size: tuple[int, int]
    rotation: int = 0
    codec: str = ""
    timed: bool = True


def is_video_name(name: str | os.PathLike[str]) -> bool:
    """Returns whether a file's suffix is one of a video."""
    return os.path.splitext(os.fspath(name))[1].lower() in VIDEO_SUFFIXES


class FrameSource(Protocol):
    """A video whose frames are decoded, or drawn, where they are asked for."""

    @property
    def info(self) -> VideoInfo:
        """Duration, rate and size."""

    def read(self, times: Sequence[float], *, side: int | None = None) -> NDArray[np.uint8]:
        """Returns the frames (T, H, W, 3) that are shown at times in seconds, reduced to a short side."""


class Video:
    """A video that is decoded where it is asked for: of a path, or of the bytes of a file.

    Frames are reduced to a short side of at most `side` pixels while decoding.
    """

    def __init__(self, source: VideoSource, name: str | None = None, *, side: int | None = None) -> None:
        self.source, self.side = source, side
        self.name = name or ("the given data" if isinstance(source, bytes) else os.fspath(source))

    @property
    def bytes(self) -> int:
        """The size of the file; 0 where there is none."""
        if isinstance(self.source, bytes):
            return len(self.source)
        return os.path.getsize(self.source) if os.path.exists(self.source) else 0

    @cached_property
    def info(self) -> VideoInfo:
        """What the file declares; raises UnreadableImageError."""
        return probe_video(self.source, self.name)

    def read(self, times: Sequence[float], *, side: int | None = None) -> NDArray[np.uint8]:
        """Decodes frames (T, H, W, 3) as `read_clip` does; raises UnreadableImageError."""
        asked = [each for each in (side, self.side) if each is not None]
        return read_clip(self.source, times, self.name, side=min(asked, default=None))[0]


def open_container(source: Any, interface: str | None = None) -> Any:
    """Opens what FFmpeg plays (PyAV's container): a path, an address, a file object, or a device of an interface."""
    av = import_extra("av", "Reading and writing videos")
    # Titles are in any encoding.
    return av.open(source, format=interface, timeout=_TIMEOUT, metadata_errors="replace")


def rate_of(stream: Any) -> float:
    """Returns the frames a second of a stream of PyAV's."""
    average, guessed = stream.average_rate, stream.guessed_rate
    # The first is the number of frames by the duration, which is wrong where times are.
    if average and not (guessed and average > 2 * guessed):
        return float(average)
    return float(guessed) if guessed else USUAL_RATE


def is_cut(last: float, wanted: float, duration: float) -> bool:
    """Returns whether a video, whose last frame is at `last` seconds, lacks what was to be shown at `wanted`."""
    return wanted - last > max(_SECONDS_MISSING, _SHARE_MISSING * duration)


def seconds_of(container: Any, stream: Any) -> float | None:
    """Returns how long the images of a file of PyAV's last, as it declares; None where it tells nothing of them."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    # Matroska's own note, as "00:01:02.500000000".
    if match := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", "")):
        return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])
    # Sound may last longer than images.
    if container.duration and not container.streams.audio:
        return float(container.duration / 1e6)
    return None


def probe_video(source: VideoSource, name: str | None = None) -> VideoInfo:
    """Reads what a video declares, and its first frame; raises UnreadableImageError for what is none."""
    with _opened(source, name) as video:
        return video.info


def read_clip(
    source: VideoSource, times: Sequence[float], name: str | None = None, *, side: int | None = None
) -> tuple[NDArray[np.uint8], VideoInfo]:
    """Decodes the frames that are shown at times, in seconds from the first frame.

    Args:
        source: a path, or the bytes of a file.
        times: in rising order; those beyond the end give the last frame.
        name: what messages call the video.
        side: the short side in pixels that frames are reduced to where it is longer, which saves time and memory.

    Returns:
        Upright frames (T, H, W, 3), RGB, and what the file declares.

    Raises:
        UnreadableImageError: the file is not a video, is damaged, or ends long before one of the times.
    """
    with _opened(source, name) as video:
        info = video.info
        frames = video.frames_at(times, side)
    return np.stack(frames), info


class _Decoded(NamedTuple):
    """A frame, and how many were decoded before it, which is its place where it has no time."""

    frame: Any
    number: int


class _Video:
    """An open file, positioned at some frame; `reopen` opens it anew, at its beginning."""

    container: Any
    stream: Any
    _decoded: Iterator[Any]
    _number: int
    _ahead: _Decoded | None

    def __init__(self, reopen: Callable[[], Any], name: str) -> None:
        self._reopen, self.name = reopen, name
        self._begin()
        if self._ahead is None:
            raise _unreadable(name, "it has no frame that can be decoded")
        self._first, second = self._ahead, next(self._decoded, None)
        self._decoded = chain([second] if second is not None else [], self._decoded)
        # Some encoders leave times out, or give all frames the same: then frames are counted.
        times = [frame.time for frame in (self._first.frame, second) if frame is not None]
        self.timed = None not in times and (len(times) == 1 or times[0] < times[1])
        self.start = float(times[0]) if self.timed else 0.0
        self.rate = rate_of(self.stream)
        self._second = float(times[1]) - self.start if self.timed and len(times) > 1 else 0.0
        self._near = _NEAR

    def close(self) -> None:
        """Closes the file."""
        self.container.close()

    def _begin(self) -> None:
        self.container = self._reopen()
        if not self.container.streams.video:
            self.container.close()
            raise _unreadable(self.name, "it has no images in it, only sound")
        [self.stream, *_] = self.container.streams.video
        self._decoded = self.container.decode(self.stream)
        self._number = 0
        self._ahead = self._next()

    @cached_property
    def info(self) -> VideoInfo:
        """What the file declares."""
        first = self._first.frame
        turn = int(getattr(first, "rotation", 0)) % 360
        size = (first.width, first.height) if turn in (90, 270) else (first.height, first.width)
        frames = int(self.stream.frames)
        duration = seconds_of(self.container, self.stream) if self.timed else None
        if duration is None or duration < self._second:
            # A file without an index declares nothing, or the length of its first part.
            frames = frames if frames > 1 and not self.timed else self._counted()
            duration = frames / self.rate
        duration = max(duration, 1 / self.rate)
        return VideoInfo(
            duration=duration, rate=self.rate, frames=frames or max(round(duration * self.rate), 1), size=size,
            rotation=turn, codec=self.stream.codec_context.name, timed=self.timed,
        )  # fmt: skip

    def _counted(self) -> int:
        """Counts the frames of a file that does not declare how long it is."""
        with self._reopen() as container:
            [stream, *_] = container.streams.video
            times = [packet.pts for packet in container.demux(stream) if packet.size]
        if self.timed and None not in times and len(times) > 1 and max(times) > min(times):
            seconds = float((max(times) - min(times)) * stream.time_base)
            self.rate = (len(times) - 1) / seconds
        return len(times)

    def frames_at(self, times: Sequence[float], side: int | None) -> list[NDArray[np.uint8]]:
        """Returns the frame that is shown at each time."""
        duration, shown = self.info.duration, self._first
        found: list[NDArray[np.uint8]] = []
        last = None
        for time in times:
            if self.timed and self._ahead is not None and time - self._time(self._ahead) > self._near:
                shown = self._seek(time) or shown
            while self._ahead is not None and self._time(self._ahead) <= time + _SOON:
                shown, self._ahead = self._ahead, self._next()
            if self._ahead is None and is_cut(self._time(shown), min(time, duration), duration):
                raise _unreadable(self.name, f"it breaks off after {self._time(shown):.1f} of {duration:.1f} seconds")
            found.append(found[-1] if shown is last else self._pixels(shown, side))
            last = shown
        return found

    def _seek(self, time: float) -> _Decoded | None:
        """Goes to the last key frame before a time where that is ahead; returns the frame there, else None."""
        assert self._ahead is not None
        before = self._time(self._ahead)
        if (key := self._key_before(time)) is not None and key <= before:
            return None
        if not self._go_to(time) or self._ahead is None or self._time(self._ahead) > time + _SOON:
            # A file that cannot be sought, or an index that leads too far: only from the beginning nothing is missed.
            self.close()
            self._begin()
        elif self._time(self._ahead) >= before:
            return self._ahead
        # What follows was decoded already: from now on only what lies further ahead is sought.
        self._near = max(2 * self._near, 2 * (time - before))
        return self._ahead

    def _key_before(self, time: float) -> float | None:
        """Returns the time of the last key frame before a time by the file's index; None where that does not tell."""
        entries = getattr(self.stream, "index_entries", None)
        if not entries:
            return None
        place = entries.search_timestamp(self._stamp(time), backward=True)
        return None if place < 0 else float(entries[place].timestamp * self.stream.time_base) - self.start

    def _go_to(self, time: float) -> bool:
        """Seeks, and returns whether the file can be sought."""
        try:
            self.container.seek(self._stamp(time), stream=self.stream, backward=True)
        except OSError:
            return False
        self._decoded = self.container.decode(self.stream)
        self._ahead = self._next()
        return True

    def _stamp(self, time: float) -> int:
        return int((time + self.start) / self.stream.time_base)

    def _next(self) -> _Decoded | None:
        frame = next(self._decoded, None)
        if frame is None:
            return None
        if frame.width * frame.height > MOST_PIXELS:
            raise _unreadable(self.name, f"its frames of {frame.width} x {frame.height} pixels are too large")
        self._number += 1
        return _Decoded(frame, self._number - 1)

    def _time(self, decoded: _Decoded) -> float:
        if self.timed and decoded.frame.time is not None:
            return float(decoded.frame.time) - self.start
        return decoded.number / self.rate

    def _pixels(self, decoded: _Decoded, side: int | None) -> NDArray[np.uint8]:
        frame = decoded.frame
        width, height = frame.width, frame.height
        if side is not None and min(width, height) > side:
            scale = side / min(width, height)
            width, height = max(round(width * scale), 1), max(round(height * scale), 1)
        shown = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
        turn = int(getattr(frame, "rotation", 0)) // 90 % 4
        return np.ascontiguousarray(np.rot90(shown, turn)) if turn else shown


@contextmanager
def _opened(source: VideoSource, name: str | None) -> Iterator[_Video]:
    av = import_extra("av", "Reading and writing videos")
    opened = ""
    if isinstance(source, bytes):
        name = name or "the given data"
    else:
        opened = os.fspath(source)
        name = name or opened
        if not os.path.isfile(opened):
            raise _unreadable(name, "it is not a file" if os.path.exists(opened) else "the file does not exist")
    try:
        video = _Video(lambda: open_container(io.BytesIO(source) if isinstance(source, bytes) else opened), name)
        try:
            yield video
        finally:
            video.close()
    except UnreadableImageError:
        raise
    except av.FFmpegError as error:
        raise _unreadable(name, f"its data are damaged ({error.strerror or error})") from error
    # What decoders of hostile bytes raise, and numbers that no video has.
    except (ValueError, OverflowError, ZeroDivisionError, MemoryError, EOFError, IndexError) as error:
        raise _unreadable(name, f"its data are damaged ({error})") from error


def _unreadable(name: str, reason: str) -> UnreadableImageError:
    return UnreadableImageError(f"{name} cannot be read as a video: {reason}.")
