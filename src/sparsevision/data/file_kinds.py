"""The kinds of files that layouts of labelled files hold: which names are theirs, and how one is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sparsevision.data.reading import decode_image, is_image_name
from sparsevision.data.videos import Video, VideoSource, is_video_name
from sparsevision.data.walking import Walked, walk_images


@dataclass(frozen=True)
class FileKind:
    """A kind of files: how messages call one, examples of suffixes, which names are theirs.

    `open(source, name, side)` returns what `Record.image` is of a path or of the bytes of a file, with the original
    (height, width) where that is known.
    """

    thing: str
    examples: str
    wanted: Callable[[str], bool]
    open: Callable[[VideoSource, str, int | None], tuple[Any, tuple[int, int] | None]]

    @property
    def things(self) -> str:
        """The plural in messages."""
        return f"{self.thing}s"

    def walk(self, folder: str) -> Walked:
        """Lists the files under a folder."""
        return walk_images(folder, wanted=self.wanted)


def _open_image(source: VideoSource, name: str, side: int | None) -> tuple[Any, tuple[int, int] | None]:
    return decode_image(source, name, side=side)


def _open_video(source: VideoSource, name: str, side: int | None) -> tuple[Any, tuple[int, int] | None]:
    # Nothing is decoded before frames are asked for.
    return Video(source, name, side=side), None


IMAGES = FileKind("image", ".jpg, .png, .webp", is_image_name, _open_image)
VIDEOS = FileKind("video", ".mp4, .mkv, .webm", is_video_name, _open_video)
