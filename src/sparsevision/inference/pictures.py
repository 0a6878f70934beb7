"""Whatever a user calls a picture, as a model's input."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sparsevision.data.preprocessing import least_decoded_side, view
from sparsevision.data.reading import as_rgb, decode_image
from sparsevision.errors import UnreadableImageError
from sparsevision.types import Preprocessing, Sample


@dataclass(frozen=True)
class Frame:
    """One picture of a video, upright RGB: which one, and when it is shown, in seconds from the beginning.

    `rate` is how many frames a second the video says it has.
    """

    image: Image.Image
    video: str
    number: int
    time: float
    rate: float | None = None

    @property
    def name(self) -> str:
        """What results call it."""
        return f"{self.video}#frame {self.number}"


Picture = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[Any] | Frame
KINDS = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray, Frame)


class PictureReader:
    """Turns pictures into samples; what cannot be read raises UnreadableImageError and nothing else."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing
        self.side = least_decoded_side(preprocessing)

    def __call__(self, picture: Picture, position: int) -> Sample:
        """Reads one picture; `position` is its place in the list or stream, and names a picture that has no name."""
        name = name_of(picture, position)
        image, size = self._decode(picture, name)
        tensor, geometry = view(self.preprocessing, image, original_size=size)
        time = picture.time if isinstance(picture, Frame) else None
        return Sample(tensor, None, name, position, geometry, time)

    def _decode(self, picture: Picture, name: str) -> tuple[Image.Image, tuple[int, int]]:
        if isinstance(picture, Frame):
            picture = picture.image
        if isinstance(picture, Image.Image):
            image = _from_pil(picture, name)
            return image, (image.height, image.width)
        if isinstance(picture, np.ndarray):
            image = _from_array(picture, name)
            return image, (image.height, image.width)
        if isinstance(picture, str | os.PathLike | bytes | bytearray | memoryview):
            return decode_image(picture, name, side=self.side)
        raise UnreadableImageError(
            f"{name} is of type {type(picture).__name__}: give a path, bytes, a PIL image or an RGB array."
        )


def name_of(picture: Any, position: int) -> str:
    """Returns what a picture is called in results and messages: its path, or its place."""
    if isinstance(picture, str | os.PathLike):
        return str(Path(picture))
    if isinstance(picture, Frame):
        return picture.name
    return str(getattr(picture, "filename", "") or f"picture {position}")


def _from_pil(image: Image.Image, name: str) -> Image.Image:
    try:
        return as_rgb(ImageOps.exif_transpose(image))
    # An image that was opened but not loaded is decoded here, and decoders raise nearly every built-in exception.
    except Exception as error:
        raise UnreadableImageError(f"{name} cannot be read as a picture: {error}.") from error


def _from_array(array: NDArray[Any], name: str) -> Image.Image:
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not fits or array.dtype != np.uint8 or 0 in array.shape:
        raise UnreadableImageError(
            f"{name} is an array of shape {array.shape} and type {array.dtype}: pictures are (height, width, 3), RGB, "
            "uint8."
        )
    return as_rgb(Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2:] == (1,) else array)))
