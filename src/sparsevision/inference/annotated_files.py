"""Annotated images and videos in a folder, one for each that was predicted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from PIL import Image

from sparsevision.data.reading import read_image
from sparsevision.drawing.videos import VideoWriter
from sparsevision.files import OutputFolder, replacing
from sparsevision.inference.clips import Clip
from sparsevision.inference.images import Frame
from sparsevision.inference.video import is_video, read_video
from sparsevision.tasks import Writer
from sparsevision.types import Result

_RATE = 25.0  # frames a second, of a camera that declares none


class AnnotatedFiles(Writer[Result]):
    """Writes annotated images and videos into a folder as results come; `written` lists the files.

    Frames are remembered between `watching`, through which they go to the predictor, and their results; there are never
    more of them than a batch. Images, and videos that were seen as a whole, are read again.
    """

    def __init__(self, folder: OutputFolder) -> None:
        self.folder = folder
        self.written: list[Path] = []
        self._frames: deque[Frame | Clip] = deque()
        self._video: VideoWriter | None = None
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
                for image, time in shown.drawn():
                    first = shown.first and time == shown.times[0]
                    self._draw_frame(shown.video, first, image, time, shown.rate, result)
            else:
                self._draw_frame(shown.video, shown.number == 0, shown.image, shown.time, shown.rate, result)
            return
        if is_video(result.name):  # one that was seen as a whole
            for frame in read_video(result.name, []):
                self._draw_frame(frame.video, frame.number == 0, frame.image, frame.time, frame.rate, result)
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
            self._video = VideoWriter(part, rate or _RATE)
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
