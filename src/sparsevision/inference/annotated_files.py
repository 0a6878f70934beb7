"""Annotated images and videos in a folder, one for each that was predicted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from sparsevision.data.reading import read_image
from sparsevision.data.videos import import_av
from sparsevision.files import OutputFolder, replacing
from sparsevision.inference.clips import Clip
from sparsevision.inference.images import Frame
from sparsevision.tasks import Writer
from sparsevision.types import Result

_RATE = 25.0  # frames a second, of a camera that declares none
_TICK = Fraction(1, 60_000)  # of a second: the usual rates are whole numbers of it


class AnnotatedFiles(Writer[Result]):
    """Writes annotated images and videos into a folder as results come; `written` lists the files.

    Frames are remembered between `watching`, through which they go to the predictor, and their results; there are never
    more of them than a batch. Images are read again.
    """

    def __init__(self, folder: OutputFolder) -> None:
        self.folder = folder
        self.written: list[Path] = []
        self._frames: deque[Frame | Clip] = deque()
        self._video: _VideoWriter | None = None
        self._open = ExitStack()
        folder.make()

    def watching(self, images: Iterator[Any]) -> Iterator[Any]:
        """Passes images on to a predictor."""
        for image in images:
            if isinstance(image, Frame | Clip):
                self._frames.append(image)
            yield image

    def add(self, result: Result) -> None:
        """Annotates the image of one result, or its frame."""
        if self._frames and self._frames[0].name == result.name:
            shown = self._frames.popleft()
            if isinstance(shown, Clip):
                for image, time in zip(shown.frames, shown.times, strict=True):
                    self._draw_frame(shown.video, shown.first and time == shown.times[0], image, time, None, result)
            else:
                self._draw_frame(shown.video, shown.number == 0, shown.image, shown.time, shown.rate, result)
            return
        drawn = result.annotate(read_image(result.name))
        # PNG for what has sharp edges already, JPEG for photographs.
        suffix = ".png" if result.name.lower().endswith(".png") else ".jpg"
        with self.folder.writing(self._name(result.name, suffix)) as path, replacing(path) as part:
            drawn.save(part, quality=92)

    def __exit__(self, *failure: object) -> None:
        self._end_video()

    def _draw_frame(
        self, video: str, first: bool, image: Image.Image, time: float, rate: float | None, result: Result
    ) -> None:
        if first or self._video is None:
            self._end_video()
            name = self._name(video.replace(":", "-"), ".mp4")
            part = self._open.enter_context(replacing(self._open.enter_context(self.folder.writing(name))))
            self._video = _VideoWriter(part, rate or _RATE)
            self._open.callback(self._video.close)
        # A video keeps its size.
        self._video.add(result.annotate(image, least_side=0), time)

    def _end_video(self) -> None:
        # What was drawn of a video is whole also where the command fails afterwards.
        self._open.close()
        self._video = None

    def _name(self, source: str, suffix: str) -> str:
        name = f"{self.folder.stem(source, [suffix])}{suffix}"
        self.written.append(self.folder.path / name)
        return name


class _VideoWriter:
    """Writes images of one size into a video file, each shown from its own time in seconds on."""

    def __init__(self, path: Path, rate: float) -> None:
        self._av = import_av()
        self._container = self._av.open(str(path), "w")
        codec = "libx264" if "libx264" in self._av.codecs_available else "mpeg4"
        self._stream: Any = self._container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001))
        self._stream.pix_fmt = "yuv420p"
        # Phones and screens record at no fixed rate. Without B-frames the file's length is that of the frames' times.
        self._stream.codec_context.time_base, self._stream.codec_context.max_b_frames = _TICK, 0
        self._duration = round(1 / (rate * _TICK))
        self._size: tuple[int, int] | None = None
        self._first, self._last = 0.0, -1

    def add(self, image: Image.Image, time: float) -> None:
        """Writes one image, without the last row or column of an odd number, which the format cannot have."""
        if self._size is None:
            self._size, self._first = (image.width // 2 * 2, image.height // 2 * 2), time
            self._stream.width, self._stream.height = self._size
        frame = self._av.VideoFrame.from_image(image.crop((0, 0, *self._size)))
        self._last = max(round((time - self._first) / _TICK), self._last + 1)
        frame.time_base, frame.pts, frame.duration = _TICK, self._last, self._duration
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Writes what the encoder still holds, and ends the file."""
        if self._size is not None:
            self._container.mux(self._stream.encode())
        self._container.close()
