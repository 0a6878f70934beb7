"""The one road from a record to a training sample: torchvision's transforms over an image and its target together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat, Mask
from torchvision.tv_tensors import Image as TensorImage

from sparsevision.data.dataset import Record
from sparsevision.data.objects import Objects
from sparsevision.data.preprocessing import rounded_size, short_side_size, to_tensor
from sparsevision.types import Sample

Fields = dict[str, Any]
INTERPOLATION = {"bilinear": v2.InterpolationMode.BILINEAR, "bicubic": v2.InterpolationMode.BICUBIC}


@dataclass(frozen=True, kw_only=True)
class TrainTransform:
    """Draws a training sample of a record.

    `fields` turns a target into tv_tensors and values, given the image; `steps` see these and the image under "image",
    which `fields` may replace (a video by frames); `target` makes the sample's target of what they return. The image,
    RGB until then, becomes a normalised (..., C, H, W) tensor, to which `tensor_steps` are applied. Randomness comes
    from the global generators, which the loader seeds for every sample.
    """

    steps: Sequence[Callable[[Any], Any]]
    fields: Callable[[Any, Any], Fields]
    target: Callable[[Fields], Any]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    tensor_steps: Sequence[Callable[[Tensor], Tensor]] = ()

    def __call__(self, record: Record) -> Sample:
        """Returns one sample, which has no geometry: it leads nowhere back."""
        shown: Fields = {"image": record.image, **self.fields(record.target, record.image)}
        for step in self.steps:
            shown = step(shown)
        image = to_tensor(shown["image"], self.mean, self.std)
        for step in self.tensor_steps:
            image = step(image)
        return Sample(image, self.target(shown), record.name, -1)


def as_boxes(objects: Objects, image: Image.Image) -> BoundingBoxes:
    """Returns the boxes of objects as corners in pixels of the image."""
    corners = torch.from_numpy(objects.boxes).float() * torch.tensor([image.width, image.height] * 2)
    return BoundingBoxes(corners.reshape(-1, 4), format=BoundingBoxFormat.XYXY, canvas_size=(image.height, image.width))


class RandomSizeCrop(v2.Transform):
    """DETR's crop: width and height are drawn between `sides`, counted on the image resized to a side of `from_sides`.

    The image itself keeps its resolution: a later step resizes what was cut.
    """

    def __init__(self, from_sides: Sequence[int], sides: tuple[int, int]) -> None:
        super().__init__()
        self.from_sides, self.sides = tuple(from_sides), sides

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draws where to cut."""
        found = next(each for each in flat_inputs if isinstance(each, Image.Image | TensorImage))
        height, width = v2.functional.get_size(found)
        scale = min(height, width) / self.from_sides[_drawn(0, len(self.from_sides) - 1)]
        cut = []
        for extent in (height, width):
            most = max(round(extent / scale), 1)
            side = _drawn(min(self.sides[0], most), min(self.sides[1], most))
            first = _drawn(0, most - side)
            begin = round(first * scale)
            cut.append((begin, min(max(round(side * scale), 1), extent - begin)))
        (top, rows), (left, columns) = cut
        return {"top": top, "left": left, "height": rows, "width": columns}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Cuts one input."""
        return self._call_kernel(v2.functional.crop, inpt, **params)


class RandomShortSide(v2.Transform):
    """Resizes so that the short side is one of `sides`, or less where the long one would exceed `longest` (DETR).

    Both are then rounded to a `multiple` of pixels. torchvision's RandomShortestSize lets a strip's short side become
    0.
    """

    def __init__(self, sides: Sequence[int], longest: int, *, multiple: int = 1) -> None:
        super().__init__()
        self.sides, self.longest, self.multiple = tuple(sides), longest, multiple

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draws a side."""
        found = next(each for each in flat_inputs if isinstance(each, Image.Image | TensorImage))
        height, width = v2.functional.get_size(found)
        size = short_side_size(height, width, self.sides[_drawn(0, len(self.sides) - 1)], self.longest)
        return {"size": rounded_size(size, self.multiple)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resizes one input."""
        return self._call_kernel(v2.functional.resize, inpt, size=list(params["size"]), antialias=True)


class RandomCanvas(v2.Transform):
    """Cuts a part of two `sides` (short, long) out, anywhere, with the long one along the image's; pads what they lack.

    Padding is of one colour, `fill`, and all around the image.
    """

    def __init__(self, sides: tuple[int, int], fill: Sequence[float]) -> None:
        super().__init__()
        self.lying = v2.RandomCrop(sides, pad_if_needed=True, fill=list(fill))
        self.upright = v2.RandomCrop(sides[::-1], pad_if_needed=True, fill=list(fill))

    def forward(self, *inputs: Any) -> Any:
        """Cuts the image, and what belongs to it."""
        found = next(each for each in tree_leaves(inputs) if isinstance(each, Image.Image | TensorImage))
        height, width = v2.functional.get_size(found)
        return (self.upright if height > width else self.lying)(*inputs)


def _drawn(least: int, most: int) -> int:
    return int(torch.randint(least, most + 1, ()))


_LONGEST = 8  # times the short side


class RandomScale(v2.Transform):
    """Resizes so that the short side is `size` times a factor drawn between `scale`; masks by their nearest pixels.

    The mask may be larger than the image, which may have been reduced while decoding. Of strips the long side is at
    most eight times `size` times the factor.
    """

    def __init__(self, size: int, scale: tuple[float, float]) -> None:
        super().__init__()
        self.size, self.scale = size, scale

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draws a size."""
        found = next(each for each in flat_inputs if isinstance(each, Image.Image | TensorImage))
        height, width = v2.functional.get_size(found)
        factor = float(torch.empty(()).uniform_(*self.scale)) * self.size
        factor /= max(min(height, width), max(height, width) / _LONGEST)
        return {"size": [max(round(height * factor), 1), max(round(width * factor), 1)]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resizes one input."""
        # "Nearest" alone would shift masks against images, by half a pixel of the larger one.
        nearest = {"interpolation": v2.InterpolationMode.NEAREST_EXACT} if isinstance(inpt, Mask) else {}
        return self._call_kernel(v2.functional.resize, inpt, **params, **nearest, antialias=True)


class RandomMaskCrop(v2.Transform):
    """Cuts a part out in which no class has more than a share, if ten draws find one; what is smaller is padded.

    Padding is grey in the image and does not count in the mask.
    """

    def __init__(self, size: tuple[int, int], most_of_class: float, *, ignored: int = 255, draws: int = 10) -> None:
        super().__init__()
        self.size, self.most_of_class, self.ignored, self.draws = size, most_of_class, ignored, draws

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draws where to cut."""
        mask = next(each for each in flat_inputs if isinstance(each, Mask))
        extents = mask.shape[-2:]
        spare = [max(extent - side, 0) for extent, side in zip(extents, self.size, strict=True)]
        place = (0, 0)
        for _ in range(self.draws):
            place = (_drawn(0, spare[0]), _drawn(0, spare[1]))
            part = mask[..., place[0] : place[0] + self.size[0], place[1] : place[1] + self.size[1]]
            counts = torch.bincount(part.flatten().long(), minlength=self.ignored + 1)[: self.ignored]
            if counts.max() <= self.most_of_class * counts.sum():
                break
        rows, columns = (min(extent, side) for extent, side in zip(extents, self.size, strict=True))
        return {"top": place[0], "left": place[1], "height": rows, "width": columns}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Cuts and pads one input."""
        cut = self._call_kernel(v2.functional.crop, inpt, **params)
        padding = [0, 0, self.size[1] - params["width"], self.size[0] - params["height"]]
        if not any(padding):
            return cut
        fill = self.ignored if isinstance(inpt, Mask) else 124
        return self._call_kernel(v2.functional.pad, cut, padding=padding, fill=fill)
