"""Videos written image by image (PyAV)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from sparsevision.errors import import_extra

_TICK = Fraction(1, 60_000)  # of a second: the usual rates are whole numbers of it


class VideoWriter:
    """Writes images of one size into a video file, each shown from its own time in seconds on."""

    def __init__(self, path: Path, rate: float) -> None:
        self._av = import_extra("av", "Reading and writing videos")
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


@contextmanager
def writing_video(path: Path, rate: float) -> Iterator[VideoWriter]:
    """Opens a video for writing, which is complete at the end of the block."""
    video = VideoWriter(path, rate)
    try:
        yield video
    finally:
        video.close()
