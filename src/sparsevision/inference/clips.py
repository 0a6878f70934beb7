"""Clips of videos as a model's input: of a file, or of frames as they come from a file or a camera."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sparsevision.data.clips import clip_times
from sparsevision.data.dataset import Record
from sparsevision.data.videos import USUAL_RATE, Video, VideoInfo, is_video_name
from sparsevision.errors import UnreadableImageError
from sparsevision.inference.images import Frame
from sparsevision.types import Preprocessing, Sample


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A part of a video in memory: its upright RGB frames, each with its time in seconds from the video's beginning.

    `begin` and `end` are those of the part; `first` is true for a video's first one.
    """

    frames: tuple[Image.Image, ...]
    times: tuple[float, ...]
    video: str
    begin: float
    end: float
    first: bool = True

    @property
    def name(self) -> str:
        """The name in results."""
        return f"{self.video}#{self.begin:.2f}-{self.end:.2f} s"


ClipInput = str | os.PathLike[str] | bytes | bytearray | memoryview | Clip | NDArray[Any]


class ClipReader:
    """Turns videos into samples by a task's transform; one that cannot be read raises UnreadableImageError."""

    types, thing = (str, os.PathLike, bytes, bytearray, memoryview, Clip, np.ndarray), "a video"

    def __init__(self, transform: Callable[[Record], Sample]) -> None:
        self.transform = transform

    def __call__(self, given: ClipInput, position: int) -> Sample:
        """Reads one video; `position` is its place in the list or stream, and names what has no name."""
        name = self.name_of(given, position)
        sample = self.transform(Record(self._opened(given, name), None, name))
        return replace(sample, index=position, time=given.begin if isinstance(given, Clip) else None)

    @staticmethod
    def name_of(given: Any, position: int) -> str:
        """Returns the name of a video in results and messages."""
        if isinstance(given, Clip):
            return given.name
        return os.fspath(given) if isinstance(given, str | os.PathLike) else f"video {position}"

    def shown(self, given: ClipInput, preprocessing: Preprocessing, side: int) -> Clip:
        """Returns the frames of a video that a model sees, those of the clip in the middle; for explanations."""
        name = self.name_of(given, 0)
        video = self._opened(given, name)
        times = clip_times(video.info, preprocessing, 0.5)
        images = tuple(Image.fromarray(frame) for frame in video.read(times, side=side))
        step = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 1 / video.info.rate
        # Frames stand in the middle of their part of the time that the model's fractions count.
        return Clip(frames=images, times=tuple(times), video=name, begin=times[0] - step / 2, end=times[-1] + step / 2)

    def _opened(self, given: ClipInput, name: str) -> Any:
        if isinstance(given, Clip):
            return _ClipInMemory(given)
        if isinstance(given, str | os.PathLike):
            if not is_video_name(given) and os.path.isfile(given):
                raise UnreadableImageError(f"{name} is no video by its name: give one to a model of videos.")
            return Video(os.fspath(given), name)
        if isinstance(given, bytes | bytearray | memoryview):
            return Video(bytes(given), name)
        return _ClipInMemory(_clip_of(given, name))


def _clip_of(given: NDArray[Any], name: str) -> Clip:
    """Takes an array (T, H, W, 3) of uint8 as a video of 25 frames a second."""
    if given.ndim != 4 or given.shape[3] != 3 or given.dtype != np.uint8 or not given.size:
        raise UnreadableImageError(
            f"{name} is an array of shape {given.shape} and type {given.dtype}; a clip is (T, H, W, 3) of uint8."
        )
    frames = tuple(Image.fromarray(frame) for frame in given)
    times = tuple(number / USUAL_RATE for number in range(len(frames)))
    return Clip(frames=frames, times=times, video=name, begin=0.0, end=len(frames) / USUAL_RATE)


class _ClipInMemory:
    """A clip, whose frames are chosen by time as those of a file are."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        duration, number = max(clip.end - clip.begin, 1e-6), len(clip.frames)
        size = (clip.frames[0].height, clip.frames[0].width)
        self.info = VideoInfo(duration=duration, rate=number / duration, frames=number, size=size)

    def read(self, times: Sequence[float], *, side: int | None = None) -> NDArray[np.uint8]:
        """Returns the frames (T, H, W, 3) that are shown at times, counted from the clip's beginning."""
        own = np.asarray(self.clip.times) - self.clip.begin
        shown = np.searchsorted(own, np.asarray(times) + 1e-4, side="right") - 1
        return np.stack([np.asarray(self.clip.frames[max(number, 0)]) for number in shown])


def clips_of(sources: Iterable[str | Frame], preprocessing: Preprocessing) -> Iterator[str | Clip]:
    """Cuts the frames of videos into clips as long as a model's, one after another; passes other sources on.

    A clip is complete with its last frame. Of a video's end what is shorter becomes one, too, where it is at least a
    quarter as long or all that there is. No more frames than those of one clip are held, and of these about those that
    a model sees.
    """
    window: _Span | None = None
    for source in sources:
        if not isinstance(source, Frame):
            yield from _rest(window)
            window = None
            yield source
            continue
        if window is not None and (window.video != source.video or source.number == 0):
            yield from _rest(window)
            window = None
        if window is None:
            window = _Span(source, preprocessing)
        yield from window.add(source)
    yield from _rest(window)


class _Span:
    """The frames of a video that make the next clip."""

    def __init__(self, first: Frame, preprocessing: Preprocessing) -> None:
        self.video, self.frames = first.video, deque[Frame]()
        rate = first.rate or USUAL_RATE
        count = preprocessing.frames or 1
        stride = preprocessing.frame_stride
        # Of a model that sees whole videos parts of a few seconds.
        whole = _SECONDS if preprocessing.clip_seconds is None else preprocessing.clip_seconds
        self.seconds = count * stride / rate if stride else whole
        # Half the distance between two frames that the model sees: nearer ones would not be chosen between.
        self.distance = self.seconds / count / 2
        self.begin, self.last, self.given = first.time, first.time, 0

    def add(self, frame: Frame) -> Iterator[Clip]:
        if frame.time - self.begin >= self.seconds - 1e-6:
            yield self.clip(self.begin + self.seconds)
            self.begin = frame.time
            self.frames.clear()
        if not self.frames or frame.time - self.frames[-1].time >= self.distance:
            self.frames.append(frame)
        self.last = frame.time + 1 / (frame.rate or USUAL_RATE)

    def clip(self, end: float) -> Clip:
        self.given += 1
        return Clip(
            frames=tuple(frame.image for frame in self.frames), times=tuple(frame.time for frame in self.frames),
            video=self.video, begin=self.begin, end=end, first=self.given == 1,
        )  # fmt: skip


_SECONDS = 4.0
_LEAST = 0.25


def _rest(window: _Span | None) -> Iterator[Clip]:
    if window is not None and window.frames:
        length = window.last - window.begin
        if not window.given or length >= _LEAST * window.seconds:
            yield window.clip(window.last)
