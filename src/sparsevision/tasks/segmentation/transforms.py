"""Options of segmentation in a recipe, and the transforms of an image with its mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
import torch
from PIL import Image
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from sparsevision.data.dataset import Record
from sparsevision.tasks.settings import EvaluationSettings, Section, TaskSettings, TransformSettings
from sparsevision.types import Preprocessing, Sample


class SegmentationView(EvaluationSettings):
    """The view of an image outside training, which shows the whole image.

    With fit "short" the short side becomes `size`, and `longest` bounds the long one; with "stretch" both become
    `size`.
    """

    fit: Literal["short", "stretch"] = "short"
    size: PositiveInt = 512
    longest: PositiveInt = 2048
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


class SegmentationTransforms(TransformSettings):
    """Transforms of a training image, in the order of the fields.

    The short side becomes `size` times a factor between `scale`. A part of `crop` (height, width) is cut out, of which
    no class has more than `most_of_class` where ten draws find such a part; smaller images are padded with pixels that
    do not count. It is mirrored with probability `flip`, and turned upside down with `vertical_flip`. `color_jitter` is
    the strength for brightness, contrast and saturation.
    """

    size: PositiveInt = 512
    scale: tuple[PositiveFloat, PositiveFloat] = (0.5, 2.0)
    crop: tuple[PositiveInt, PositiveInt] = (512, 512)
    most_of_class: float = Field(default=0.75, gt=0.0, le=1.0)
    flip: float = Field(default=0.5, ge=0.0, le=1.0)
    vertical_flip: float = Field(default=0.0, ge=0.0, le=1.0)
    color_jitter: NonNegativeFloat = 0.4
    evaluation: SegmentationView = SegmentationView()

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale = {self.scale} must rise")
        return self

    def preprocessing(self) -> Preprocessing:
        """Returns the view of an image outside training."""
        view = self.evaluation
        longest = view.size if view.fit == "stretch" else max(view.longest, view.size)
        return Preprocessing(
            size=(view.size, longest), fit=view.fit, interpolation=view.interpolation, mean=self.mean, std=self.std
        )


class SegmentationLoss(Section):
    """Weights of the parts of the loss.

    `dice` is that of one minus the Dice coefficient, `auxiliary` multiplies the losses of auxiliary heads.
    `class_weights` has a weight of each class in the cross entropy, in their order. `hardest` trains on that share of
    the pixels alone whose cross entropy is largest.
    """

    cross_entropy: NonNegativeFloat = 1.0
    dice: NonNegativeFloat = 0.0
    auxiliary: NonNegativeFloat = 0.4
    class_weights: tuple[PositiveFloat, ...] | None = None
    hardest: float = Field(default=1.0, gt=0.0, le=1.0)

    @model_validator(mode="after")
    def _teaches(self) -> Self:
        if not self.cross_entropy and not self.dice:
            raise ValueError("cross_entropy and dice are both 0: one of them must be above")
        return self


class SegmentationSettings(TaskSettings):
    """The tables [transforms] and [loss] of a recipe."""

    transforms: SegmentationTransforms = SegmentationTransforms()
    loss: SegmentationLoss = SegmentationLoss()


def train_transform(settings: SegmentationTransforms) -> Callable[[Record], Sample]:
    """Returns the random transform from a record to a sample."""
    from torchvision.transforms import v2

    from sparsevision.data.transforms import RandomMaskCrop, RandomScale, TrainTransform

    steps: list[Any] = [
        RandomScale(settings.size, settings.scale),
        RandomMaskCrop(settings.crop, settings.most_of_class),
        v2.RandomHorizontalFlip(settings.flip),
    ]
    if settings.vertical_flip:
        steps.append(v2.RandomVerticalFlip(settings.vertical_flip))
    if settings.color_jitter:
        steps.append(v2.ColorJitter(*[settings.color_jitter] * 3))
    return TrainTransform(steps=steps, fields=_as_fields, target=_mask, mean=settings.mean, std=settings.std)


def target_of(mask: np.ndarray) -> torch.Tensor:
    """Returns a mask as a tensor (H, W), int64."""
    return torch.from_numpy(mask.astype(np.int64))


def _as_fields(mask: np.ndarray, image: Image.Image) -> dict[str, Any]:
    from torchvision.tv_tensors import Mask

    return {"mask": Mask(torch.from_numpy(mask.copy()))}


def _mask(fields: dict[str, Any]) -> torch.Tensor:
    found: torch.Tensor = fields["mask"].as_subclass(torch.Tensor).long()
    return found
