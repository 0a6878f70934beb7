"""From a decoded image to what a model sees, wherever no randomness is wanted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sparsevision.data.dataset import Record
from sparsevision.errors import ConfigError
from sparsevision.types import Geometry, Preprocessing, Sample

RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
LEAST_SIDE = 32
LEAST_MULTIPLES = 3  # of what sides are rounded to


def identity(target: Any) -> Any:
    """Returns a target as it is."""
    return target


def view(
    preprocessing: Preprocessing, image: Image.Image, *, original_size: tuple[int, int] | None = None
) -> tuple[Tensor, Geometry]:
    """Returns the model's input for an RGB image, a normalised (C, H, W) tensor, and its geometry.

    `original_size` (height, width) is that of the image before it was reduced while decoding; the geometry leads back
    to its pixels.
    """
    height, width = original_size or (image.height, image.width)
    if preprocessing.fit == "crop":
        shown, box = _crop(preprocessing, image)
    else:
        size = _uncropped_size(preprocessing, image)
        shown, box = _resized(image, size, preprocessing.interpolation), (0.0, 0.0, 1.0, 1.0)
    pixels = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    return to_tensor(shown, preprocessing.mean, preprocessing.std), Geometry((height, width), pixels)


@dataclass(frozen=True)
class EvaluationTransform:
    """The transform of a record outside training: its view, and `target` of its target."""

    preprocessing: Preprocessing
    target: Callable[[Any], Any] = identity

    def __call__(self, record: Record) -> Sample:
        """Returns the sample with the geometry that leads back to the original."""
        image, geometry = view(self.preprocessing, record.image, original_size=record.original_size)
        return Sample(image, self.target(record.target), record.name, -1, geometry)


def to_tensor(image: Image.Image | Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Turns an image into a float32 (C, H, W) tensor with (value / 255 - mean) / std; one mean makes it grey.

    Frames are uint8 (T, C, H, W), as many channels as there are means.
    """
    if len(mean) != len(std) or len(mean) not in (1, 3):
        raise ConfigError(f"A mean of {len(mean)} and a std of {len(std)} channels do not fit: give 1 or 3 of both.")
    if isinstance(image, Tensor):
        tensor = image.as_subclass(Tensor)
    else:
        wanted = "L" if len(mean) == 1 else "RGB"
        values = np.array(image if image.mode == wanted else image.convert(wanted))
        tensor = torch.from_numpy(values).reshape(image.height, image.width, len(mean)).permute(2, 0, 1)
    scale = torch.tensor([1 / (255 * deviation) for deviation in std]).view(-1, 1, 1)
    shift = torch.tensor([centre / deviation for centre, deviation in zip(mean, std, strict=True)]).view(-1, 1, 1)
    return tensor.to(torch.float32, memory_format=torch.contiguous_format).mul_(scale).sub_(shift)


def least_decoded_side(preprocessing: Preprocessing) -> int:
    """Returns the short side that an image must keep while decoding so that preprocessing loses nothing visible.

    Twice what the image is resized to: the resampling filter then still averages real pixels.
    """
    fraction = preprocessing.crop_fraction if preprocessing.fit == "crop" else 1.0
    longest = preprocessing.size[0] if preprocessing.fit == "short" else max(preprocessing.size)
    return 2 * int(longest / fraction)


def batch_for(preprocessing: Preprocessing, wanted: int) -> int:
    """Returns how many images may be scored together: one where they are whole, which differ in size.

    Padding one to another's size would change what convolutions see of it. Views of a video count as one each.
    """
    if preprocessing.fit in ("whole", "short"):
        return 1
    return max(wanted // (preprocessing.clips * preprocessing.crops), min(wanted, 1))


def _crop(preprocessing: Preprocessing, image: Image.Image) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """Resizes so that `size / crop_fraction` is covered, takes the centre; returns it and its box as fractions."""
    height, width = preprocessing.size
    fraction = preprocessing.crop_fraction
    cover_height, cover_width = int(height / fraction), int(width / fraction)
    if image.width * cover_height <= image.height * cover_width:
        resized_width, resized_height = cover_width, max(int(cover_width * image.height / image.width), cover_height)
    else:
        resized_width, resized_height = max(int(cover_height * image.width / image.height), cover_width), cover_height
    left, top = round((resized_width - width) / 2), round((resized_height - height) / 2)
    box = (left / resized_width, top / resized_height, (left + width) / resized_width, (top + height) / resized_height)
    if max(resized_width, resized_height) > 16 * max(cover_width, cover_height):
        # A strip: resizing all of it would take gigabytes, so only what is seen is resized.
        source = (box[0] * image.width, box[1] * image.height, box[2] * image.width, box[3] * image.height)
        return image.resize((width, height), RESAMPLING[preprocessing.interpolation], box=source), box
    resized = _resized(image, (resized_height, resized_width), preprocessing.interpolation)
    return resized.crop((left, top, left + width, top + height)), box


def _uncropped_size(preprocessing: Preprocessing, image: Image.Image) -> tuple[int, int]:
    """Returns the (height, width) of a view that shows the whole image."""
    if preprocessing.fit == "stretch":
        return preprocessing.size
    if preprocessing.fit == "short":
        size = short_side_size(image.height, image.width, *preprocessing.size)
    else:
        size = _whole_size(preprocessing.size, image)
    return rounded_size(size, preprocessing.multiple)


def rounded_size(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Returns the (height, width) with both sides rounded to a multiple of pixels, and at least three times as long."""
    if multiple == 1:
        return size
    height, width = (max(round(side / multiple), LEAST_MULTIPLES) for side in size)
    return height * multiple, width * multiple


def short_side_size(height: int, width: int, short: int, longest: int) -> tuple[int, int]:
    """Returns the (height, width) with the short side at `short`, or lower where the long one would exceed `longest`.

    DETR's rule: the long side is cut to whole pixels.
    """
    least, most = min(height, width), max(height, width)
    long = max(int(short * most / least), 1)
    if most / least * short > longest:
        # Of a strip not one whole pixel is left of the short side, and the long one is still bounded.
        short = max(round(longest * least / most), 1)
        long = int(short * most / least) if longest * least >= most else longest
    return (short, long) if height <= width else (long, short)


def _whole_size(size: tuple[int, int], image: Image.Image) -> tuple[int, int]:
    """Returns the (height, width) with the image's aspect ratio and the area of `size`, no side under 32 pixels."""
    area = size[0] * size[1]
    height = math.sqrt(area * image.height / image.width)
    longest = area / LEAST_SIDE
    height = min(max(height, LEAST_SIDE), longest)
    return max(round(height), 1), max(round(area / height), 1)


def _resized(image: Image.Image, size: tuple[int, int], interpolation: str) -> Image.Image:
    height, width = size
    if (image.height, image.width) == (height, width):
        return image
    return image.resize((width, height), RESAMPLING[interpolation])
