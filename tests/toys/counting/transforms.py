"""Options of counting in a recipe, and its training transform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PIL import Image
from pydantic import Field, PositiveFloat, PositiveInt

from sparsevision.data.dataset import Record
from sparsevision.tasks.settings import EvaluationSettings, Section, TaskSettings, TransformSettings
from sparsevision.types import Preprocessing, Sample


class CountingTransforms(TransformSettings):
    size: PositiveInt = 32
    flip: float = Field(default=0.5, ge=0.0, le=1.0)
    evaluation: EvaluationSettings = EvaluationSettings()

    def preprocessing(self) -> Preprocessing:
        size, view = (self.size, self.size), self.evaluation
        return Preprocessing(size=size, fit="stretch", interpolation=view.interpolation, mean=self.mean, std=self.std)


class CountingLoss(Section):
    power: PositiveFloat = 1.0


class CountingSettings(TaskSettings):
    transforms: CountingTransforms = CountingTransforms()
    loss: CountingLoss = CountingLoss()


def train_transform(settings: CountingTransforms) -> Callable[[Record], Sample]:
    from torchvision.transforms import v2

    from sparsevision.data.transforms import TrainTransform

    size = (settings.size, settings.size)
    return TrainTransform(
        steps=[v2.RandomHorizontalFlip(settings.flip), v2.Resize(size)],
        fields=_as_fields,
        target=_count,
        mean=settings.mean,
        std=settings.std,
    )


def _as_fields(target: float, image: Image.Image) -> dict[str, Any]:
    return {"count": target}


def _count(fields: dict[str, Any]) -> float:
    return float(fields["count"])
