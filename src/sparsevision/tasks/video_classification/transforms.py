"""Options of video classification in a recipe, and the training transforms that they name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from sparsevision.data.clips import clip_times
from sparsevision.data.videos import FrameSource
from sparsevision.tasks.labels.settings import LabelLoss, MixSettings
from sparsevision.tasks.settings import EvaluationSettings, TaskSettings
from sparsevision.types import Preprocessing, Sample


class VideoView(EvaluationSettings):
    """The views of a video outside training; `size` None is the training size. See `types.Preprocessing`."""

    size: PositiveInt | None = None
    fit: Literal["crop", "stretch"] = "crop"
    crop_fraction: float = Field(default=0.875, gt=0.0, le=1.0)
    clips: PositiveInt = 1
    crops: PositiveInt = 1


class VideoTransforms(MixSettings):
    """Transforms of a training clip, in the order of the fields, the same for all of its frames.

    A clip has `frames` frames: every `frame_stride`-th of the video, or as many as cover `clip_seconds`, or with
    neither the whole video, from a random time on. `size` is the side in pixels; `crop_scale` the share of the area and
    `crop_ratio` the aspect ratio (width to height) of the random crop; `flip` the probability of mirroring;
    `rand_augment` the magnitude, of 30, of torchvision's RandAugment; `color_jitter` the strength for brightness,
    contrast and saturation, without it; `erasing` the probability of filling one rectangle with noise. A batch is mixed
    as `MixSettings` has it.
    """

    frames: PositiveInt = 16
    frame_stride: PositiveInt | None = None
    clip_seconds: PositiveFloat | None = None
    size: PositiveInt = 224
    crop_scale: tuple[PositiveFloat, PositiveFloat] = (0.3, 1.0)
    crop_ratio: tuple[PositiveFloat, PositiveFloat] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip: float = Field(default=0.5, ge=0.0, le=1.0)
    rand_augment: int = Field(default=0, ge=0, le=30)
    color_jitter: NonNegativeFloat = 0.0
    erasing: float = Field(default=0.0, ge=0.0, le=1.0)
    evaluation: VideoView = VideoView()

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise ValueError(f"crop_scale = {self.crop_scale} must be two rising shares of the area within (0, 1]")
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise ValueError(f"crop_ratio = {self.crop_ratio} must be two rising, positive aspect ratios")
        if self.frame_stride is not None and self.clip_seconds is not None:
            raise ValueError("frame_stride and clip_seconds were both given: choose one of the two")
        return self

    def preprocessing(self) -> Preprocessing:
        """Returns the views of a video outside training."""
        own, size = self.evaluation, self.evaluation.size or self.size
        return Preprocessing(
            size=(size, size), fit=own.fit, crop_fraction=own.crop_fraction, interpolation=own.interpolation,
            mean=self.mean, std=self.std, frames=self.frames, frame_stride=self.frame_stride,
            clip_seconds=self.clip_seconds, clips=own.clips, crops=own.crops,
        )  # fmt: skip


class VideoSettings(TaskSettings):
    """The tables [transforms] and [loss] of a recipe."""

    transforms: VideoTransforms = VideoTransforms()
    loss: LabelLoss = LabelLoss()


def train_transform(settings: VideoTransforms) -> Callable[[Any], Sample]:
    """Returns the random transform from a record to a sample (C, T, H, W)."""
    from torchvision.transforms import v2

    from sparsevision.data.transforms import INTERPOLATION, TrainTransform

    size, interpolation = (settings.size, settings.size), INTERPOLATION[settings.interpolation]
    options = {"scale": settings.crop_scale, "ratio": settings.crop_ratio, "antialias": True}
    steps: list[Any] = [v2.RandomResizedCrop(size, interpolation=interpolation, **options)]
    steps.append(v2.RandomHorizontalFlip(settings.flip))
    if settings.rand_augment:
        steps.append(v2.RandAugment(2, settings.rand_augment))
    elif settings.color_jitter:
        steps.append(v2.ColorJitter(*[settings.color_jitter] * 3))
    erase = [v2.RandomErasing(settings.erasing, value="random")] if settings.erasing else []
    return TrainTransform(
        steps=steps, fields=partial(_drawn_clip, settings.preprocessing()), target=_label, mean=settings.mean,
        std=settings.std, tensor_steps=[*erase, partial(torch.transpose, dim0=0, dim1=1)],
    )  # fmt: skip


def _drawn_clip(clip: Preprocessing, target: int, video: FrameSource) -> dict[str, Any]:
    """Reads frames (T, C, H, W) from a random time on, which steps change alike."""
    from torchvision.tv_tensors import Video

    times = clip_times(video.info, clip, float(torch.rand(())))
    # Half of what may be cut out and enlarged is enlarged by less than a half.
    frames = video.read(times, side=int(1.5 * max(clip.size)))
    return {"image": Video(torch.from_numpy(frames).permute(0, 3, 1, 2)), "label": target}


def _label(fields: dict[str, Any]) -> int:
    return int(fields["label"])
