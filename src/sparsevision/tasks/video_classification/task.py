"""Video classification: one class a video, of clips of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal

from torch import Tensor

from sparsevision.data.clips import ClipEvaluationTransform
from sparsevision.data.inspection import Inspection
from sparsevision.data.layouts.registry import DataLayout, layout_named
from sparsevision.errors import ConfigError
from sparsevision.outputs import at_least_single
from sparsevision.tasks.contract import Progress, Transform
from sparsevision.tasks.labels.task import LabelTask
from sparsevision.tasks.registry import layout_of
from sparsevision.tasks.video_classification.transforms import VideoSettings, train_transform
from sparsevision.types import Batch, Control, Option, Preprocessing, Sample


class VideoClassificationTask(LabelTask):
    """Classification of videos by clips (B, C, T, H, W); scores of several views of a video are averaged."""

    name: ClassVar[str] = "video_classification"
    Settings: ClassVar[type[VideoSettings]] = VideoSettings
    recipe: ClassVar[str] = "videos_nano"
    evaluation_batch: ClassVar[int] = 8
    things: ClassVar[Literal["images", "videos"]] = "videos"
    settings: VideoSettings

    @classmethod
    def layout(cls, spec: str) -> DataLayout:
        """Returns the layout of a data set of videos, else that of class folders of them."""
        return layout_of(cls.name, spec) or layout_named("video_folders")

    @classmethod
    def inspect(cls, spec: str, *, seed: int = 0, progress: Progress | None = None) -> Inspection:
        """Opens every video once and reports faults."""
        from sparsevision.tasks.video_classification.inspection import inspect_videos

        opener = partial(cls.open, spec, seed=seed)
        return inspect_videos(opener, partial(cls.splits, spec), cls.check_sets, spec, progress)

    @classmethod
    def check_preprocessing(cls, preprocessing: Preprocessing) -> None:
        """Refuses a preprocessing that says nothing of clips."""
        if preprocessing.frames is None:
            raise ConfigError("The preprocessing of a video model says how many frames a clip has: give frames=.")

    @property
    def view_options(self) -> Mapping[str, Option]:
        """How many clips of a video are scored, and how many parts of each; without them what the weights carry."""
        clips = "evaluate: clips of each video, evenly from its beginning to its end, whose scores are averaged"
        crops = "evaluate: squares of each clip along the long side, whose scores are averaged"
        texts = {"clips": clips, "crops": crops}
        return {name: Control(name, 1, 1, 1000, text, whole=True) for name, text in texts.items()}

    def viewed(self, preprocessing: Preprocessing, **options: Any) -> Preprocessing:
        """Returns a preprocessing of other clips and crops."""
        return replace(preprocessing, **options)

    @classmethod
    def fitted(cls, preprocessing: Preprocessing) -> dict[str, Any]:
        """Returns the clip, the size and the normalisation of a model's input."""
        names = ("frames", "frame_stride", "clip_seconds", "mean", "std")
        fields: dict[str, Any] = {name: getattr(preprocessing, name) for name in names}
        height, width = preprocessing.size
        return fields | ({"size": height} if height == width else {})

    @staticmethod
    def size_of(image: Any) -> tuple[int, int]:
        """Returns a video's height and width."""
        return image.info.size

    def train_transform(self) -> Transform:
        """Returns the random transform of the settings."""
        return train_transform(self.settings.transforms)

    def evaluation_transform(self, preprocessing: Preprocessing) -> Transform:
        """Returns the views of the preprocessing with the label."""
        return ClipEvaluationTransform(preprocessing)

    def collate(self, samples: list[Sample]) -> Batch:
        """Stacks clips, (B V, C, T, H, W) where each sample has several views."""
        batch = super().collate(samples)
        if batch.images.ndim == 6:
            batch.views = batch.images.shape[1]
            batch.images = batch.images.flatten(0, 1)
        return batch

    def merge(self, output: Tensor, batch: Batch) -> Tensor:
        """Returns the logarithms of the mean scores of each video's views."""
        if batch.views == 1:
            return output
        return at_least_single(output).softmax(-1).unflatten(0, (-1, batch.views)).mean(1).clamp(min=1e-30).log()
