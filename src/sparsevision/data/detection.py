"""From a picture and its boxes to what a detector is taught or scored with (DETR's transforms)."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sparsevision.data.dataset import Objects, Record
from sparsevision.data.preprocessing import RESAMPLING, short_side_size, to_tensor, views
from sparsevision.errors import ConfigError
from sparsevision.types import Geometry, Preprocessing

Target = dict[str, Tensor]
Shown = tuple[Tensor, Target, Geometry | None]


class ObjectTransform(ABC):
    """Turns a record with objects into (normalised (C, H, W) tensor, target, geometry)."""

    @abstractmethod
    def __call__(self, record: Record) -> Shown:
        """Returns what is shown of a record."""


def target_of(objects: Objects | None) -> Target:
    """Returns objects as tensors: "boxes" (N, 4) (cx, cy, w, h) as fractions, "labels", "areas", "crowds" (N,)."""
    if objects is None:
        raise ConfigError("The data set has no boxes: detection needs COCO's, YOLO's or Pascal VOC's layout.")
    x0, y0, x1, y1 = objects.boxes.T
    boxes = np.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], axis=-1)
    return {
        "boxes": torch.from_numpy(boxes).float(),
        "labels": torch.from_numpy(objects.labels).long(),
        "areas": torch.from_numpy(objects.areas).float(),
        "crowds": torch.from_numpy(objects.crowds).bool(),
    }


@dataclass(frozen=True)
class DetectionEvaluation(ObjectTransform):
    """Shows the whole picture, and all of its objects, crowds too."""

    preprocessing: Preprocessing

    def __post_init__(self) -> None:
        if self.preprocessing.fit == "crop":
            raise ConfigError("A detector is scored on whole pictures: use fit = 'short', 'whole' or 'stretch'.")

    def __call__(self, record: Record) -> Shown:
        """Returns the one view of the picture."""
        [(image, geometry)] = views(self.preprocessing, record.image, original_size=record.original_size)
        return image, target_of(record.objects), geometry


@dataclass(frozen=True)
class DetectionSettings:
    """What happens to a training picture, in this order; the defaults are the published ones.

    It is mirrored with probability `flip`. With probability `crop`, it is resized to a short side out of `crop_from`
    and cut to a width and a height between `crop_sides`. Then its short side becomes one of `short_sides`, or less
    where the long side would exceed `longest`. `color_jitter` is the strength for brightness, contrast and saturation.
    """

    short_sides: tuple[int, ...] = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    longest: int = 1333
    flip: float = 0.5
    crop: float = 0.5
    crop_from: tuple[int, ...] = (400, 500, 600)
    crop_sides: tuple[int, int] = (384, 600)
    color_jitter: float = 0.0
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        for name in ("short_sides", "crop_from", "crop_sides", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("flip", "crop"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} = {getattr(self, name)} is no probability: give a number from 0 to 1.")
        if not self.short_sides or min(self.short_sides) < 1 or self.longest < max(self.short_sides):
            raise ConfigError(
                f"short_sides = {self.short_sides} must be lengths of at least 1, none above longest = {self.longest}."
            )
        if self.crop and not (self.crop_from and 1 <= self.crop_sides[0] <= min(*self.crop_sides, *self.crop_from)):
            raise ConfigError(
                f"crop_sides = {self.crop_sides} must be two rising lengths, the first within crop_from = "
                f"{self.crop_from}."
            )


class DetectionTransform(ObjectTransform):
    """Draws one training sample by the settings; crowds and what is cut away are left out of its target.

    Randomness comes from Python's and torch's global generators, which the loader seeds for every sample.
    """

    def __init__(self, settings: DetectionSettings) -> None:
        self.settings = settings
        self._jitter = None
        if settings.color_jitter:
            from torchvision.transforms.v2 import ColorJitter

            self._jitter = ColorJitter(*[settings.color_jitter] * 3)

    def __call__(self, record: Record) -> Shown:
        """Draws one sample."""
        settings, image, objects = self.settings, record.image, record.objects
        if objects is None:
            objects = Objects(np.zeros((0, 4)), *(np.zeros(0, kind) for kind in (np.int64, np.float64, bool)))
        objects = objects[~objects.crowds]
        if random.random() < settings.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            x0, y0, x1, y1 = objects.boxes.T
            objects = Objects(np.stack([1 - x1, y0, 1 - x0, y1], -1), objects.labels, objects.areas, objects.crowds)
        box = (0.0, 0.0, 1.0, 1.0)
        if random.random() < settings.crop:
            box = self._drawn_crop(image)
            objects = _cut(objects, box)
        left, top, right, bottom = (
            share * side for share, side in zip(box, (image.width, image.height) * 2, strict=True)
        )
        short = random.choice(settings.short_sides)
        height, width = short_side_size(
            max(round(bottom - top), 1), max(round(right - left), 1), short, settings.longest
        )
        image = image.resize((width, height), RESAMPLING["bilinear"], box=(left, top, right, bottom))
        if self._jitter is not None:
            image = self._jitter(image)
        return to_tensor(image, settings.mean, settings.std), target_of(objects), None

    def _drawn_crop(self, image: Image.Image) -> tuple[float, float, float, float]:
        """Draws a crop as fractions of the picture; its sides count pixels of the picture resized to `crop_from`."""
        height, width = short_side_size(image.height, image.width, random.choice(self.settings.crop_from), 1 << 30)
        least, most = self.settings.crop_sides
        cut_width, cut_height = (random.randint(min(least, side), min(most, side)) for side in (width, height))
        left, top = random.randint(0, width - cut_width), random.randint(0, height - cut_height)
        return left / width, top / height, (left + cut_width) / width, (top + cut_height) / height


def _cut(objects: Objects, box: tuple[float, float, float, float]) -> Objects:
    """Returns what a crop leaves of objects, as fractions of the crop; areas shrink as the boxes do."""
    origin, extent = np.array(box[:2] * 2), np.array([box[2] - box[0], box[3] - box[1]] * 2)
    boxes = ((objects.boxes - origin) / extent).clip(0, 1)
    sides = boxes[:, 2:] - boxes[:, :2]
    left = (sides > 0).all(axis=1)
    before = (objects.boxes[:, 2:] - objects.boxes[:, :2]).prod(axis=1)
    shares = sides.prod(axis=1) / np.maximum(before, 1e-12)
    return Objects(boxes, objects.labels, objects.areas * shares, objects.crowds)[left]
