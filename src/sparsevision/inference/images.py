"""Images as a user gives them (paths, bytes, PIL images, arrays, frames of videos), as a model's input."""

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


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One upright RGB image of a video: its number, and its time in seconds from the beginning.

    `rate` is the number of frames a second that the video declares.
    """

    image: Image.Image
    video: str
    number: int
    time: float
    rate: float | None = None

    @property
    def name(self) -> str:
        """The name in results."""
        return f"{self.video}#frame {self.number}"


@dataclass(frozen=True)
class WholeImage:
    """An upright RGB image at its full size, its name, its place in a list or stream, and its time in a video."""

    image: Image.Image
    name: str
    position: int
    time: float | None = None


ImageInput = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[Any] | Frame
IMAGE_TYPES = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray, Frame)


class ImageReader:
    """Turns images into samples; one that cannot be read raises UnreadableImageError and nothing else."""

    types, thing = IMAGE_TYPES, "an image"

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing
        self.side = least_decoded_side(preprocessing)

    def __call__(self, given: ImageInput, position: int) -> Sample:
        """Reads one image; `position` is its place in the list or stream, and names an image that has no name."""
        name = self.name_of(given, position)
        image, size = self._decode(given, name)
        tensor, geometry = view(self.preprocessing, image, original_size=size)
        return Sample(tensor, None, name, position, geometry, given.time if isinstance(given, Frame) else None)

    @staticmethod
    def name_of(given: Any, position: int) -> str:
        """Returns an image's name in results and messages: its path, or its place."""
        if isinstance(given, str | os.PathLike):
            return str(Path(given))
        if isinstance(given, Frame):
            return given.name
        return str(getattr(given, "filename", "") or f"image {position}")

    def in_one_view(self) -> ImageReader:
        """Returns the reader: an image is seen as a whole."""
        return self

    def whole(self, given: ImageInput, position: int) -> WholeImage:
        """Reads one image at its full size, without preprocessing."""
        name = self.name_of(given, position)
        image, _ = self._decode(given, name, reduced=False)
        return WholeImage(image, name, position, given.time if isinstance(given, Frame) else None)

    def _decode(self, given: ImageInput, name: str, *, reduced: bool = True) -> tuple[Image.Image, tuple[int, int]]:
        """Returns an image, which may be a reduced one, and its original height and width."""
        if isinstance(given, str | os.PathLike | bytes | bytearray | memoryview):
            return decode_image(given, name, side=self.side if reduced else None)
        if isinstance(given, np.ndarray):
            image = _from_array(given, name)
        elif isinstance(given, Frame | Image.Image):
            image = _from_pil(given.image if isinstance(given, Frame) else given, name)
        else:
            raise UnreadableImageError(
                f"{name} is of type {type(given).__name__}: give a path, bytes, a PIL image or an RGB array."
            )
        return image, (image.height, image.width)


def _from_pil(image: Image.Image, name: str) -> Image.Image:
    if 0 in image.size:
        raise UnreadableImageError(f"{name} has {image.width} x {image.height} pixels: give an image with pixels.")
    try:
        return as_rgb(ImageOps.exif_transpose(image))
    # An image that was opened but not loaded is decoded here, and decoders raise nearly every built-in exception.
    except Exception as error:
        raise UnreadableImageError(f"{name} cannot be read as an image: {error}.") from error


def _from_array(array: NDArray[Any], name: str) -> Image.Image:
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not fits or array.dtype != np.uint8 or 0 in array.shape:
        raise UnreadableImageError(
            f"{name} is an array of shape {array.shape} and type {array.dtype}: images are (height, width, 3), RGB, "
            "uint8."
        )
    return as_rgb(Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2:] == (1,) else array)))
