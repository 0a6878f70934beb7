"""From a decoded picture to a training sample: the random transforms that a recipe names."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageOps
from timm.data.auto_augment import auto_augment_transform, rand_augment_transform
from timm.data.random_erasing import RandomErasing
from timm.data.transforms import RandomResizedCropAndInterpolation
from torch import Tensor
from torchvision.transforms.v2 import ColorJitter

from sparsevision.data.preprocessing import RESAMPLING, to_tensor
from sparsevision.errors import ConfigError

_RAND_AUGMENT = re.compile(r"rand(-(m\d+|n\d+|p[\d.]+|mstd[\d.]+|mmax\d+|inc[01]|t\w+))*")


@dataclass(frozen=True)
class TransformSettings:
    """What happens to a training picture, in this order; the defaults are SparseFormer's ImageNet recipe.

    `size` (height, width) in pixels; `crop_scale` the share of the area and `crop_ratio` the aspect ratio (width to
    height) of the random crop; `flip` the probability of mirroring; `rand_augment` in timm's spelling, None for none;
    `auto_augment` one of AutoAugment's policies for ImageNet instead ("original" or "v0");
    `color_jitter` the strength for brightness, contrast and saturation, which both switch off as in timm;
    `erasing` the probability of filling one rectangle with noise, or with the mean in mode "constant". `mean` and `std`
    of one channel make pictures grey.
    """

    size: tuple[int, int] = (224, 224)
    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic", "random"] = "bicubic"
    flip: float = 0.5
    rand_augment: str | None = "rand-m9-mstd0.5-inc1"
    auto_augment: Literal["original", "v0"] | None = None
    color_jitter: float = 0.0
    erasing: float = 0.25
    erasing_mode: Literal["pixel", "constant"] = "pixel"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        for name in ("size", "crop_scale", "crop_ratio", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("flip", "erasing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} = {getattr(self, name)} is no probability: give a number from 0 to 1.")
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise ConfigError(f"crop_scale = {self.crop_scale} must be two rising shares of the area within (0, 1].")
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise ConfigError(f"crop_ratio = {self.crop_ratio} must be two rising, positive aspect ratios.")
        if self.rand_augment is not None and not _RAND_AUGMENT.fullmatch(self.rand_augment):
            raise ConfigError(
                f"rand_augment = {self.rand_augment!r} is not in timm's spelling: try 'rand-m9-mstd0.5-inc1'."
            )
        if self.rand_augment is not None and self.auto_augment is not None:
            raise ConfigError("rand_augment and auto_augment were both given: set one of them to none.")


class TrainTransform:
    """Turns an RGB picture into a normalised (C, H, W) tensor by the settings' random transforms.

    Randomness comes from the global generators of Python, numpy and torch, which the loader seeds for every sample.
    """

    def __init__(self, settings: TransformSettings) -> None:
        self.settings = settings
        self._jitter: ColorJitter | None = None
        self._augment: Callable[[Image.Image], Image.Image] | None = None
        if settings.rand_augment is not None or settings.auto_augment is not None:
            # timm's own parameters for it: shifts by up to 45 % of the side, grey of the mean where nothing is.
            hints: dict[str, object] = {
                "translate_const": int(min(settings.size) * 0.45),
                "img_mean": tuple(min(255, round(255 * value)) for value in (settings.mean * 3)[:3]),
            }
            if settings.interpolation != "random":
                hints["interpolation"] = RESAMPLING[settings.interpolation]
            if settings.auto_augment is not None:
                policy = auto_augment_transform(settings.auto_augment, hints)
                operations = [operation for pair in policy.policy for operation in pair]
                self._augment = policy
            else:
                assert settings.rand_augment is not None
                randomly = rand_augment_transform(settings.rand_augment, hints)
                operations, self._augment = randomly.ops, randomly
            for operation in operations:
                if operation.name.startswith("Posterize"):
                    operation.aug_fn = _posterize
        elif settings.color_jitter > 0:
            self._jitter = ColorJitter(settings.color_jitter, settings.color_jitter, settings.color_jitter)
        mode = {"pixel": "pixel", "constant": "const"}[settings.erasing_mode]
        self._erase = RandomErasing(settings.erasing, mode=mode, device="cpu")

    def __call__(self, image: Image.Image) -> Tensor:
        """Draws one training sample from a picture."""
        settings = self.settings
        shown = self._cropped(image)
        if random.random() < settings.flip:
            shown = shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self._augment is not None:
            shown = self._augment(shown)
        elif self._jitter is not None:
            shown = self._jitter(shown)
        tensor = to_tensor(shown, settings.mean, settings.std)
        return self._erase(tensor) if settings.erasing > 0 else tensor

    def _cropped(self, image: Image.Image) -> Image.Image:
        """Resizes a random crop to the settings' size in one step."""
        settings = self.settings
        top, left, height, width = RandomResizedCropAndInterpolation.get_params(
            image, settings.crop_scale, settings.crop_ratio
        )
        # timm rounds the crop of a picture of a few pixels to nothing.
        width, height = max(width, 1), max(height, 1)
        left, top = min(left, image.width - width), min(top, image.height - height)
        interpolation = settings.interpolation
        if interpolation == "random":
            interpolation = random.choice(("bilinear", "bicubic"))
        return image.resize(
            (settings.size[1], settings.size[0]),
            RESAMPLING[interpolation],
            box=(left, top, left + width, top + height),
            reducing_gap=3.0,
        )


def _posterize(image: Image.Image, bits_to_keep: int, **_: object) -> Image.Image:
    """Keeps the upper bits of every value, at least one: timm's strongest asks for none, which Pillow 13 refuses."""
    return image if bits_to_keep >= 8 else ImageOps.posterize(image, max(bits_to_keep, 1))
