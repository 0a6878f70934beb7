"""Classification: one class an image."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from sparsevision.data.inspection import Inspection
from sparsevision.data.layouts.registry import DataLayout, layout_named
from sparsevision.data.preprocessing import EvaluationTransform
from sparsevision.tasks.classification.transforms import ClassificationSettings, train_transform
from sparsevision.tasks.contract import Progress, Transform
from sparsevision.tasks.labels.task import LabelTask
from sparsevision.tasks.registry import layout_of
from sparsevision.types import Preprocessing


class ClassificationTask(LabelTask):
    """Classification of images."""

    name: ClassVar[str] = "classification"
    Settings: ClassVar[type[ClassificationSettings]] = ClassificationSettings
    recipe: ClassVar[str] = "folder_nano"
    page: ClassVar[str | None] = __package__
    evaluation_batch: ClassVar[int] = 64
    prediction_batch: ClassVar[int] = 16
    settings: ClassificationSettings

    @classmethod
    def layout(cls, spec: str) -> DataLayout:
        """Returns the layout of shards or digits, else that of class folders."""
        return layout_of(cls.name, spec) or layout_named("class_folders")

    @classmethod
    def inspect(cls, spec: str, *, seed: int = 0, progress: Progress | None = None) -> Inspection:
        """Decodes every image once and reports faults."""
        from sparsevision.tasks.labels.inspection import inspect_labelled

        opener = partial(cls.open, spec, seed=seed)
        return inspect_labelled(opener, partial(cls.splits, spec), cls.check_sets, spec, progress)

    @staticmethod
    def size_of(image: Any) -> tuple[int, int]:
        """Returns an image's height and width."""
        return image.height, image.width

    @classmethod
    def fitted(cls, preprocessing: Preprocessing) -> dict[str, Any]:
        """Returns the size, the normalisation and the view of a model's input."""
        view = {"fit": preprocessing.fit, "crop_fraction": preprocessing.crop_fraction}
        fields: dict[str, Any] = {f"evaluation.{name}": value for name, value in view.items()}
        fields |= {"evaluation.interpolation": preprocessing.interpolation}
        fields |= {"mean": preprocessing.mean, "std": preprocessing.std}
        height, width = preprocessing.size
        return fields | ({"size": height} if height == width else {})

    def train_transform(self) -> Transform:
        """Returns the random transform of the settings."""
        return train_transform(self.settings.transforms)

    def evaluation_transform(self, preprocessing: Preprocessing) -> Transform:
        """Returns the view of the preprocessing with the label."""
        return EvaluationTransform(preprocessing)
