"""Options of classification in a recipe, and the training transforms that they name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, Self

from PIL import Image, ImageOps
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from sparsevision.tasks.labels.settings import LabelLoss, MixSettings
from sparsevision.tasks.settings import EvaluationSettings, TaskSettings
from sparsevision.types import Preprocessing, Sample

_RAND_AUGMENT = re.compile(r"rand(-(m\d+|n\d+|p[\d.]+|mstd[\d.]+|mmax\d+|inc[01]|t\w+))*")


class ClassificationView(EvaluationSettings):
    """The view of an image outside training; `size` None is the training size. See `types.Preprocessing`."""

    size: PositiveInt | None = None
    fit: Literal["crop", "stretch", "whole"] = "crop"
    crop_fraction: float = Field(default=0.875, gt=0.0, le=1.0)


class ClassificationTransforms(MixSettings):
    """Transforms of a training image, in the order of the fields; a batch is mixed as `MixSettings` has it.

    `size` is the side in pixels; `crop_scale` the share of the area and `crop_ratio` the aspect ratio (width to height)
    of the random crop; `flip` the probability of mirroring; `rand_augment` is in timm's spelling; `auto_augment` one of
    AutoAugment's policies for ImageNet instead; `color_jitter` the strength for brightness, contrast and saturation,
    which both switch off as in timm; `erasing` the probability of filling one rectangle with noise, or with the mean in
    mode "constant".
    """

    size: PositiveInt = 224
    crop_scale: tuple[PositiveFloat, PositiveFloat] = (0.08, 1.0)
    crop_ratio: tuple[PositiveFloat, PositiveFloat] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic", "random"] = "bicubic"
    flip: float = Field(default=0.5, ge=0.0, le=1.0)
    rand_augment: str | None = None
    auto_augment: Literal["original", "v0"] | None = None
    color_jitter: NonNegativeFloat = 0.0
    erasing: float = Field(default=0.0, ge=0.0, le=1.0)
    erasing_mode: Literal["pixel", "constant"] = "pixel"
    evaluation: ClassificationView = ClassificationView()

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise ValueError(f"crop_scale = {self.crop_scale} must be two rising shares of the area within (0, 1]")
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise ValueError(f"crop_ratio = {self.crop_ratio} must be two rising, positive aspect ratios")
        return self

    @model_validator(mode="after")
    def _one_policy(self) -> Self:
        if self.rand_augment is not None and not _RAND_AUGMENT.fullmatch(self.rand_augment):
            raise ValueError(
                f"rand_augment = {self.rand_augment!r} is not in timm's spelling: try 'rand-m9-mstd0.5-inc1'"
            )
        if self.rand_augment is not None and self.auto_augment is not None:
            raise ValueError("rand_augment and auto_augment were both given: set one of them to none")
        return self

    def preprocessing(self) -> Preprocessing:
        """Returns the view of an image outside training."""
        view, size = self.evaluation, self.evaluation.size or self.size
        return Preprocessing(
            size=(size, size), fit=view.fit, crop_fraction=view.crop_fraction, interpolation=view.interpolation,
            mean=self.mean, std=self.std,
        )  # fmt: skip


class ClassificationSettings(TaskSettings):
    """The tables [transforms] and [loss] of a recipe."""

    transforms: ClassificationTransforms = ClassificationTransforms()
    loss: LabelLoss = LabelLoss()


def train_transform(settings: ClassificationTransforms) -> Callable[[Any], Sample]:
    """Returns the random transform from a record to a sample."""
    from torchvision.transforms import v2

    from sparsevision.data.transforms import INTERPOLATION, TrainTransform

    size, options = (settings.size, settings.size), {"scale": settings.crop_scale, "ratio": settings.crop_ratio}
    wanted = INTERPOLATION if settings.interpolation == "random" else {settings.interpolation: None}
    crops = [v2.RandomResizedCrop(size, interpolation=INTERPOLATION[each], **options) for each in wanted]
    steps: list[Any] = [v2.RandomChoice(crops), v2.RandomHorizontalFlip(settings.flip)]
    policy = _policy(settings)
    if policy is not None:
        steps.append(v2.Lambda(policy, Image.Image))
    elif settings.color_jitter > 0:
        steps.append(v2.ColorJitter(*[settings.color_jitter] * 3))
    erase = v2.RandomErasing(
        settings.erasing, scale=(0.02, 1 / 3), ratio=(0.3, 1 / 0.3),
        value="random" if settings.erasing_mode == "pixel" else 0,
    )  # fmt: skip
    return TrainTransform(
        steps=steps, fields=_as_fields, target=_label, mean=settings.mean, std=settings.std,
        tensor_steps=[erase] if settings.erasing > 0 else [],
    )  # fmt: skip


def _as_fields(target: int, image: Image.Image) -> dict[str, Any]:
    return {"label": target}


def _label(fields: dict[str, Any]) -> int:
    return int(fields["label"])


def _policy(settings: ClassificationTransforms) -> Callable[[Image.Image], Image.Image] | None:
    """Returns timm's RandAugment or AutoAugment, with timm's own parameters for it; None where neither is wanted."""
    if settings.rand_augment is None and settings.auto_augment is None:
        return None
    from timm.data.auto_augment import auto_augment_transform, rand_augment_transform

    from sparsevision.data.preprocessing import RESAMPLING

    # Shifts by up to 45 % of the side, grey of the mean where nothing is.
    hints: dict[str, object] = {
        "translate_const": int(settings.size * 0.45),
        "img_mean": tuple(min(255, round(255 * value)) for value in (settings.mean * 3)[:3]),
    }
    if settings.interpolation != "random":
        hints["interpolation"] = RESAMPLING[settings.interpolation]
    policy: Any
    if settings.auto_augment is not None:
        policy = auto_augment_transform(settings.auto_augment, hints)
        operations = [operation for pair in policy.policy for operation in pair]
    else:
        policy = rand_augment_transform(settings.rand_augment or "", hints)
        operations = policy.ops
    for operation in operations:
        if operation.name.startswith("Posterize"):
            operation.aug_fn = _posterize
    found: Callable[[Image.Image], Image.Image] = policy
    return found


def _posterize(image: Image.Image, bits_to_keep: int, **_: object) -> Image.Image:
    """Keeps the upper bits of every value, at least one: timm's strongest asks for none, which Pillow 13 refuses."""
    return image if bits_to_keep >= 8 else ImageOps.posterize(image, max(bits_to_keep, 1))
