"""Annotated images and videos in a folder, one for each that was predicted."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image

from sparsevision.data.reading import read_image
from sparsevision.inference.pictures import Frame
from sparsevision.inference.video import import_av
from sparsevision.tasks import Writer
from sparsevision.types import Result

# A camera that does not say how fast it is.
_RATE = 25.0


class AnnotatedFiles(Writer[Result]):
    """Writes annotated images and videos into a folder as results come; `written` lists the files.

    Frames are remembered between `watching`, through which they go to the predictor, and their results; there are never
    more of them than a batch. Pictures are read again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[Path] = []
        self._names: Counter[str] = Counter()
        self._frames: deque[Frame] = deque()
        self._video: _VideoWriter | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def watching(self, pictures: Iterator[Any]) -> Iterator[Any]:
        """Passes pictures on to a predictor."""
        for picture in pictures:
            if isinstance(picture, Frame):
                self._frames.append(picture)
            yield picture

    def add(self, result: Result) -> None:
        """Annotates the image of one result, or its frame."""
        if self._frames and self._frames[0].name == result.name:
            self._draw_frame(self._frames.popleft(), result)
            return
        drawn = result.annotate(read_image(result.name))
        # PNG for what has sharp edges already, JPEG for photographs.
        suffix = ".png" if result.name.lower().endswith(".png") else ".jpg"
        path = self._path(result.name, suffix)
        drawn.save(path, quality=92)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_video()

    def _draw_frame(self, frame: Frame, result: Result) -> None:
        if frame.number == 0 or self._video is None:
            self._end_video()
            self._video = _VideoWriter(self._path(frame.video.replace(":", "-"), ".mp4"), frame.rate or _RATE)
        # A video keeps its size.
        self._video.add(result.annotate(frame.image, least_side=0))

    def _end_video(self) -> None:
        if self._video is not None:
            self._video.close()
            self._video = None

    def _path(self, source: str, suffix: str) -> Path:
        """Returns a file's path: named as its source, and numbered where the name comes again."""
        stem = Path(source).stem
        self._names[stem] += 1
        path = self.folder / f"{stem if self._names[stem] == 1 else f'{stem}-{self._names[stem]}'}{suffix}"
        self.written.append(path)
        return path


class _VideoWriter:
    """Writes pictures of one size into a video file, one after another."""

    def __init__(self, path: Path, rate: float) -> None:
        self._av = import_av()
        self._container = self._av.open(str(path), "w")
        codec = "libx264" if "libx264" in self._av.codecs_available else "mpeg4"
        self._stream: Any = self._container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001))
        self._stream.pix_fmt = "yuv420p"
        self._size: tuple[int, int] | None = None

    def add(self, picture: Image.Image) -> None:
        """Writes one picture; a row or a column more than an even number is cut off, as the format wants."""
        if self._size is None:
            self._size = (picture.width // 2 * 2, picture.height // 2 * 2)
            self._stream.width, self._stream.height = self._size
        frame = self._av.VideoFrame.from_image(picture.crop((0, 0, *self._size)))
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Writes what the encoder still holds, and ends the file."""
        if self._size is not None:
            self._container.mux(self._stream.encode())
        self._container.close()
