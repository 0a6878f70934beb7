"""Options that tasks share whose answer is one class: the cross entropy's, and mixing's."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat

from sparsevision.tasks.settings import Section, TransformSettings


class MixSettings(TransformSettings):
    """Transforms with those of a batch behind them.

    `mixup` and `cutmix` are the parameters of the Beta distributions that the share of the first image is drawn from, 0
    switching that kind off; a batch is mixed with `mix_probability`, by CutMix with `mix_switch` where both are on
    (Zhang et al., arXiv 1710.09412; Yun et al., arXiv 1905.04899).
    """

    mixup: NonNegativeFloat = 0.0
    cutmix: NonNegativeFloat = 0.0
    mix_probability: float = Field(default=1.0, ge=0.0, le=1.0)
    mix_switch: float = Field(default=0.5, ge=0.0, le=1.0)


class LabelLoss(Section):
    """Options of the cross entropy; `class_weights` "balanced" weighs each class by the inverse of its share."""

    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    class_weights: Literal["none", "balanced"] | tuple[NonNegativeFloat, ...] = "none"
