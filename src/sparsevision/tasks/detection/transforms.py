"""Options of detection in a recipe, and the transforms of an image with boxes (DETR's)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

import torch
from PIL import Image
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor

from sparsevision.data.dataset import Record
from sparsevision.data.objects import Objects
from sparsevision.errors import ConfigError
from sparsevision.tasks.settings import EvaluationSettings, Section, TaskSettings, TransformSettings
from sparsevision.types import Preprocessing, Sample

Target = dict[str, Tensor]


class DetectionView(EvaluationSettings):
    """The view of an image outside training; with fit "short", `size` is the short side and `longest` bounds the long.

    `size` None is the largest of the training's short sides. See `types.Preprocessing`.
    """

    size: PositiveInt | None = None
    longest: PositiveInt = 1333
    fit: Literal["short", "whole", "stretch"] = "short"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


class DetectionTransforms(TransformSettings):
    """DetectionTransforms of a training image, in the order of the fields; the defaults are the published ones.

    It is mirrored with probability `flip`, and turned upside down with probability `vertical_flip`. With probability
    `crop`, it is resized to a short side out of `crop_from` and cut to a width and a height between `crop_sides`. Then
    its short side becomes one of `short_sides`, or less where the long side would exceed `longest`. `color_jitter` is
    the strength for brightness, contrast and saturation. With a `canvas` (short side, long side), a part of that size
    is then cut out, anywhere and along the image; what it lacks is grey. Batches of images of one orientation then have
    no padding. The last `plain_epochs` are without the crops of `crop` and changes of colour. Sides of images, in the
    view outside training too, are rounded to a `multiple` of pixels: convolutions that pad images of even and of odd
    sides differently (TensorFlow's way) then give maps that lie in one place.
    """

    flip: float = Field(default=0.5, ge=0.0, le=1.0)
    vertical_flip: float = Field(default=0.0, ge=0.0, le=1.0)
    crop: float = Field(default=0.5, ge=0.0, le=1.0)
    crop_from: tuple[PositiveInt, ...] = (400, 500, 600)
    crop_sides: tuple[PositiveInt, PositiveInt] = (384, 600)
    short_sides: tuple[PositiveInt, ...] = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    longest: PositiveInt = 1333
    multiple: PositiveInt = 1
    canvas: tuple[PositiveInt, PositiveInt] | None = None
    color_jitter: NonNegativeFloat = 0.0
    plain_epochs: NonNegativeInt = 0
    evaluation: DetectionView = DetectionView()

    @model_validator(mode="after")
    def _sides_fit(self) -> Self:
        if not self.short_sides or self.longest < max(self.short_sides):
            raise ValueError(
                f"short_sides = {self.short_sides} must be lengths of at least 1, none above longest = {self.longest}"
            )
        if self.crop and not (self.crop_from and self.crop_sides[0] <= min(*self.crop_sides, *self.crop_from)):
            raise ValueError(
                f"crop_sides = {self.crop_sides} must be two rising lengths, the first within crop_from = "
                f"{self.crop_from}"
            )
        return self

    @model_validator(mode="after")
    def _canvas_fits(self) -> Self:
        canvas = self.canvas
        if canvas is None:
            return self
        if canvas[0] > canvas[1]:
            raise ValueError(f"canvas = {canvas} must be a short side and a long one")
        if self.evaluation.fit == "short" and canvas[0] != self.seen_side:
            raise ValueError(
                f"canvas = {canvas} must have the short side that images have outside training, which is "
                f"{self.seen_side} (evaluation.size): boxes are learned as shares of what is seen"
            )
        if any(side % self.multiple for side in canvas):
            raise ValueError(f"canvas = {canvas} must have sides that are multiples of multiple = {self.multiple}")
        return self

    @property
    def seen_side(self) -> int:
        """The size of the view outside training, the largest of `short_sides` where the view names none."""
        return self.evaluation.size or max(self.short_sides)

    def preprocessing(self) -> Preprocessing:
        """Returns the view of an image outside training."""
        view, size = self.evaluation, self.seen_side
        return Preprocessing(
            size=(size, max(view.longest, size) if view.fit == "short" else size), fit=view.fit,
            interpolation=view.interpolation, mean=self.mean, std=self.std,
            multiple=1 if view.fit == "stretch" else self.multiple,
        )  # fmt: skip


class DetectionLoss(Section):
    """Weights of the parts of the loss, and of the costs of the assignment.

    `class_target`: what the class score of a found object is trained to be: "one", or the overlap of the box, "iou".
    """

    classes: NonNegativeFloat = 2.0
    l1: NonNegativeFloat = 5.0
    giou: NonNegativeFloat = 2.0
    class_target: Literal["one", "iou"] = "one"


class DetectionSettings(TaskSettings):
    """The tables [transforms] and [loss] of a recipe."""

    transforms: DetectionTransforms = DetectionTransforms()
    loss: DetectionLoss = DetectionLoss()


def train_transform(settings: DetectionTransforms) -> Callable[[Record], Sample]:
    """Returns the random transform from a record to a sample; crowds and what is cut away leave the target."""
    from torchvision.transforms import v2

    from sparsevision.data.transforms import RandomCanvas, RandomShortSide, RandomSizeCrop, TrainTransform

    steps: list[Any] = [v2.RandomHorizontalFlip(settings.flip)]
    if settings.vertical_flip:
        steps.append(v2.RandomVerticalFlip(settings.vertical_flip))
    if settings.crop:
        steps.append(v2.RandomApply([RandomSizeCrop(settings.crop_from, settings.crop_sides)], p=settings.crop))
    steps.append(RandomShortSide(settings.short_sides, settings.longest, multiple=settings.multiple))
    if settings.canvas is not None:
        steps.append(RandomCanvas(settings.canvas, [round(255 * level) for level in settings.mean]))
    if settings.color_jitter:
        steps.append(v2.ColorJitter(*[settings.color_jitter] * 3))
    steps.append(v2.ClampBoundingBoxes())
    return TrainTransform(steps=steps, fields=_as_fields, target=_remaining, mean=settings.mean, std=settings.std)


def evaluation_transform(preprocessing: Preprocessing) -> Callable[[Record], Sample]:
    """Returns the transform to the whole image with all of its objects, crowds too."""
    from sparsevision.data.preprocessing import EvaluationTransform

    check_preprocessing(preprocessing)
    return EvaluationTransform(preprocessing, target_of)


def check_preprocessing(preprocessing: Preprocessing) -> None:
    """Raises ConfigError for a view that cuts objects off."""
    if preprocessing.fit == "crop":
        raise ConfigError("A detector is shown whole images: give a preprocessing with fit='short' or 'stretch'.")


def target_of(objects: Objects) -> Target:
    """Returns objects as tensors: "boxes" (N, 4) (cx, cy, w, h) as fractions, "labels", "areas", "crowds" (N,)."""
    from torchvision.ops import box_convert

    return {
        "boxes": box_convert(torch.from_numpy(objects.boxes), "xyxy", "cxcywh").float(),
        "labels": torch.from_numpy(objects.labels).long(),
        "areas": torch.from_numpy(objects.areas).float(),
        "crowds": torch.from_numpy(objects.crowds).bool(),
    }


def _as_fields(objects: Objects, image: Image.Image) -> dict[str, Any]:
    from sparsevision.data.transforms import as_boxes

    single = objects[~objects.crowds]
    return {"boxes": as_boxes(single, image), "labels": torch.from_numpy(single.labels).long()}


def _remaining(fields: dict[str, Any]) -> Target:
    """Returns the target of the objects that a crop has left, as `target_of` has it."""
    from torchvision.ops import box_convert

    boxes, (height, width) = fields["boxes"].as_subclass(Tensor), fields["boxes"].canvas_size
    left = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    shares = box_convert(boxes[left], "xyxy", "cxcywh") / torch.tensor([width, height] * 2)
    return {"boxes": shares, "labels": fields["labels"][left]}
