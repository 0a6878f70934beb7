"""Clips of videos as a model's input: of a file, of an array, or of frames as they come from a file or a camera."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sparsevision.data.clips import clip_seconds, clip_times, least_side
from sparsevision.data.dataset import Record
from sparsevision.data.videos import USUAL_RATE, Video, VideoInfo, is_video_name
from sparsevision.errors import UnreadableImageError
from sparsevision.inference.images import Frame
from sparsevision.inference.video import is_live
from sparsevision.types import Preprocessing, Sample

_SOON = 1e-4  # seconds that two spellings of the same time may differ by
_LEAST_PART = 0.25  # of a clip's length, below which a video's end is not seen as a clip


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Part of a video in memory: upright RGB frames and, for each, the time in seconds at which it appears.

    The part is that from `begin` to `end`, of a video of `rate` frames a second and of `size` (height, width), where
    the frames are reduced; `first` is true for a video's first. It stands for `tail` seconds behind it, too, where the
    video's end is too short for a clip; and where it is `held`, its first frame is the last one of the clip before.
    """

    frames: tuple[Image.Image, ...]
    times: tuple[float, ...]
    video: str
    begin: float
    end: float
    rate: float = USUAL_RATE
    size: tuple[int, int] | None = None
    first: bool = True
    held: bool = False
    tail: float = 0.0

    @property
    def name(self) -> str:
        """The name in results."""
        return f"{self.video}#{self.begin:.2f}-{self.end + self.tail:.2f} s"

    def drawn(self) -> list[tuple[Image.Image, float]]:
        """Returns frames with their times, each of a video's frames once: one that is held is left out if it can be."""
        soon = self.held and len(self.times) > 1 and self.times[1] - self.times[0] < 1 / self.rate - _SOON
        return list(zip(self.frames, self.times, strict=True))[int(soon) :]

    def with_tail(self, rest: Clip, *, all_frames: bool) -> Clip:
        """Returns the clip with the end of its video, whose frames are not seen but drawn."""
        drawn = rest.drawn() if all_frames else []
        return replace(
            self, frames=(*self.frames, *(image for image, _ in drawn)), tail=rest.end - self.end,
            times=(*self.times, *(time for _, time in drawn)),
        )  # fmt: skip


ClipInput = str | os.PathLike[str] | bytes | bytearray | memoryview | Clip | NDArray[Any]


class ClipReader:
    """Turns videos into samples by a task's transform; one that cannot be read raises UnreadableImageError.

    A file is seen in all views of the preprocessing. A `Clip`, which is as long as one view, has one place in time; an
    array (T, H, W, 3) is a clip itself, of whose frames evenly many are taken.
    """

    types, thing = (str, os.PathLike, bytes, bytearray, memoryview, Clip, np.ndarray), "a video"

    def __init__(
        self, transform_of: Callable[[Preprocessing], Callable[[Record], Sample]], preprocessing: Preprocessing
    ) -> None:
        self._transform_of, self.preprocessing = transform_of, preprocessing
        self._of_file = transform_of(preprocessing)
        self._of_clip = transform_of(replace(preprocessing, clips=1))
        whole = replace(preprocessing, clips=1, frame_stride=None, clip_seconds=None)
        self._of_array = transform_of(whole)

    def __call__(self, given: ClipInput, position: int) -> Sample:
        """Reads one video; `position` is its place in the list or stream, and names what has no name."""
        name = self.name_of(given, position)
        transform = self._of_file
        if isinstance(given, Clip):
            transform = self._of_clip
        elif isinstance(given, np.ndarray):
            transform = self._of_array
        sample = transform(Record(self._opened(given, name), None, name))
        return replace(sample, index=position, time=given.begin if isinstance(given, Clip) else None)

    @staticmethod
    def name_of(given: Any, position: int) -> str:
        """Returns the name of a video in results and messages."""
        if isinstance(given, Clip):
            return given.name
        return os.fspath(given) if isinstance(given, str | os.PathLike) else f"video {position}"

    def in_one_view(self) -> ClipReader:
        """Returns a reader of the clip in the middle and the middle of its frames, which can be explained."""
        return ClipReader(self._transform_of, replace(self.preprocessing, clips=1, crops=1))

    def shown(self, given: ClipInput, side: int) -> Clip:
        """Returns the frames of a video that a model sees in one view, reduced to a short side."""
        name = self.name_of(given, 0)
        video = self._opened(given, name)
        times = clip_times(video.info, self.preprocessing, 0.5)
        images = tuple(Image.fromarray(frame) for frame in video.read(times, side=side))
        step = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 1 / video.info.rate
        # Frames stand in the middle of their part of the time that the model's fractions count.
        return Clip(frames=images, times=tuple(times), video=name, begin=times[0] - step / 2, end=times[-1] + step / 2)

    def _opened(self, given: ClipInput, name: str) -> Any:
        if isinstance(given, Clip):
            return _ClipInMemory(given)
        if isinstance(given, str | os.PathLike):
            if not is_video_name(given) and os.path.isfile(given):
                raise UnreadableImageError(f"{name} does not have the suffix of a video: give a video file.")
            return Video(os.fspath(given), name)
        if isinstance(given, bytes | bytearray | memoryview):
            return Video(bytes(given), name)
        return _ClipInMemory(_clip_of(given, name))


def _clip_of(given: NDArray[Any], name: str) -> Clip:
    """Takes an array (T, H, W, 3) of uint8 as a video."""
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
        duration, size = max(clip.end - clip.begin, 1e-6), clip.size or _sides(clip.frames[0])
        frames = max(round(duration * clip.rate), 1)
        self.info = VideoInfo(duration=duration, rate=clip.rate, frames=frames, size=size)

    def read(self, times: Sequence[float], *, side: int | None = None) -> NDArray[np.uint8]:
        """Returns the frames (T, H, W, 3) that are shown at times, counted from the clip's beginning."""
        own = np.asarray(self.clip.times) - self.clip.begin
        shown = np.searchsorted(own, np.asarray(times) + _SOON, side="right") - 1
        return np.stack([np.asarray(reduced(self.clip.frames[max(number, 0)], side)) for number in shown])


def _sides(image: Image.Image) -> tuple[int, int]:
    return image.height, image.width


def reduced(image: Image.Image, side: int | None) -> Image.Image:
    """Reduces an image to a short side where that is longer, by the mean over areas."""
    if side is None or min(image.size) <= side:
        return image
    scale = side / min(image.size)
    width, height = (max(round(extent * scale), 1) for extent in image.size)
    return image.resize((width, height), Image.Resampling.BOX)


def clips_of(
    sources: Iterable[str | Frame], preprocessing: Preprocessing, *, all_frames: bool = False
) -> Iterator[str | Clip]:
    """Cuts the frames of videos into clips as long as a model's, one after another; passes other sources on.

    The last clip of a video may be shorter, and an end that is less than a quarter of a clip is the tail of the clip
    before it; of a frame that is shown for longer there are several. A clip has those frames alone that the model sees,
    reduced to the size that it needs; with `all_frames` it has all of them as they are, to be drawn. A camera's clip is
    complete with the first frame behind it. The preprocessing says how long clips are.
    """
    window: _NextClip | None = None
    done: Clip | None = None  # the clip before the window, until the window is known to become one
    for source in sources:
        if window is not None and (not isinstance(source, Frame) or window.video != source.video or source.number == 0):
            yield from _ends(done, window)
            window = done = None
        if not isinstance(source, Frame):
            yield source
            continue
        if window is None:
            window = _NextClip(source.video, source.time, source.rate or USUAL_RATE, preprocessing, all_frames)
        while source.time >= window.end - _SOON:
            if done is not None:
                yield done
            done, window = window.clip(window.end), window.following()
        window.add(source)
        if done is not None and (is_live(window.video) or window.is_long_enough(source.time)):
            yield done
            done = None
    if window is not None:
        yield from _ends(done, window)


def in_windows(preprocessing: Preprocessing) -> bool:
    """Returns whether clips have a length, so that a video is cut into them; otherwise a model sees whole videos."""
    return clip_seconds(preprocessing, USUAL_RATE) is not None


class _NextClip:
    """The part of a video that becomes the next clip; `held` is the frame that is shown when it begins."""

    def __init__(
        self, video: str, begin: float, rate: float, preprocessing: Preprocessing, all_frames: bool,
        held: Frame | None = None,
    ) -> None:  # fmt: skip
        self.video, self.begin, self.rate, self.held = video, begin, rate, held
        self.preprocessing, self.all_frames, self.first = preprocessing, all_frames, held is None
        seconds = clip_seconds(preprocessing, rate)
        assert seconds is not None, "a model of whole videos has no windows"
        self.end = begin + seconds
        whole = VideoInfo(duration=seconds, rate=rate, frames=1, size=(1, 1))
        self._wanted = [begin + time for time in clip_times(whole, preprocessing, 0.0)]
        self._last, self._chosen = held, 0
        self._shown: Frame | None = None  # the last one that was chosen
        self._holds = held is not None and all_frames
        self._frames: list[Image.Image] = []
        self._times: list[float] = []
        if held is not None and all_frames:
            self._take(held.image, begin)

    def add(self, frame: Frame) -> None:
        """Takes a frame in, which is shown from its time on."""
        if self.all_frames:
            if self._times and frame.time - self._times[-1] < _SOON:  # the held frame is gone when the clip begins
                self._frames.pop()
                self._times.pop()
                self._holds = False
            self._take(frame.image, frame.time)
        else:
            self._choose(frame.time - _SOON)
        self._last = frame

    def clip(self, end: float) -> Clip:
        """Returns what there is of the clip, until a time."""
        if not self.all_frames:
            self._choose(end)
            if not self._frames:  # shorter than the time of the first frame that is seen
                self._choose(self._wanted[0] + _SOON)
        return Clip(
            frames=tuple(self._frames), times=tuple(self._times), video=self.video, begin=self.begin, end=end,
            rate=self.rate, size=None if self._last is None else _sides(self._last.image), first=self.first,
            held=self._holds,
        )  # fmt: skip

    def rest(self) -> Clip:
        """Returns the end of the video, as long as its last frame is shown."""
        assert self._last is not None
        return self.clip(min(max(self._last.time, self.begin) + 1 / self.rate, self.end))

    def following(self) -> _NextClip:
        """Returns the next window."""
        return _NextClip(self.video, self.end, self.rate, self.preprocessing, self.all_frames, self._last)

    def is_long_enough(self, end: float) -> bool:
        """Whether a clip that ends at a time stands for itself."""
        return end - self.begin >= _LEAST_PART * (self.end - self.begin) - _SOON

    @property
    def has_own(self) -> bool:
        """Whether a frame came that is not held from the window before."""
        return self._last is not None and self._last is not self.held

    def _choose(self, before: float) -> None:
        """Takes the last frame for the times that are wanted before one."""
        while self._chosen < len(self._wanted) and self._wanted[self._chosen] < before and self._last is not None:
            side = least_side(self.preprocessing)
            same = self._frames and self._shown is self._last
            self._take(self._frames[-1] if same else reduced(self._last.image, side), self._wanted[self._chosen])
            self._shown = self._last
            self._chosen += 1

    def _take(self, image: Image.Image, time: float) -> None:
        self._frames.append(image)
        self._times.append(time)


def _ends(done: Clip | None, window: _NextClip) -> Iterator[Clip]:
    """Yields the last clips of a video."""
    rest = window.rest() if window.has_own else None
    if done is not None and rest is not None and not window.is_long_enough(rest.end):
        yield done.with_tail(rest, all_frames=window.all_frames)
        return
    yield from (clip for clip in (done, rest) if clip is not None)
