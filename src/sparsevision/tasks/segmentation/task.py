"""Segmentation: the class of every pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sparsevision.data.inspection import Inspection
from sparsevision.data.layouts.registry import DataLayout
from sparsevision.data.loading import batch_of
from sparsevision.data.masks import BACKGROUND, IGNORED, MOST_CLASSES
from sparsevision.data.preprocessing import LEAST_SIDE, EvaluationTransform
from sparsevision.errors import ConfigError, DataError
from sparsevision.outputs import SegmentationOutput
from sparsevision.tasks.contract import (
    Measure,
    Progress,
    Reader,
    ReportWriterEntry,
    Task,
    Tiling,
    Transform,
    WriterEntry,
)
from sparsevision.tasks.registry import needed_layout
from sparsevision.tasks.segmentation.criterion import PixelCriterion
from sparsevision.tasks.segmentation.metrics import MEASURES, SegmentationMetrics, write_confusion
from sparsevision.tasks.segmentation.post_processing import class_map
from sparsevision.tasks.segmentation.result import SegmentationResult
from sparsevision.tasks.segmentation.transforms import SegmentationSettings, target_of, train_transform
from sparsevision.tasks.segmentation.windows import WindowedImage
from sparsevision.tasks.segmentation.writers import open_masks
from sparsevision.types import Batch, ClassMetadata, Control, Geometry, Option, Preprocessing, Sample


class SegmentationTask(Task):
    """The classes of pixels; targets are masks of indices (H, W), 255 for pixels that do not count.

    Outside training a mask has the original's pixels, whatever the network's view is. The cross entropy is averaged
    over the pixels of a step, other parts of the loss over its images.
    """

    name: ClassVar[str] = "segmentation"
    Settings: ClassVar[type[SegmentationSettings]] = SegmentationSettings
    measures: ClassVar[tuple[Measure, ...]] = MEASURES
    recipe: ClassVar[str] = "masks_nano"
    page: ClassVar[str | None] = __package__
    evaluation_batch: ClassVar[int] = 4
    prediction_batch: ClassVar[int] = 1
    writers: ClassVar[Mapping[str, WriterEntry]] = {
        "masks": WriterEntry(
            description="a palette PNG of the classes for each image, and the table of the classes",
            open=open_masks,
            folder=True,
        )
    }
    report_writers: ClassVar[Mapping[str, ReportWriterEntry]] = {
        "confusion": ReportWriterEntry(
            description="the matrix of confusions (CSV; rows: true, columns: predicted)", write=write_confusion
        )
    }
    settings: SegmentationSettings

    def __init__(
        self, classes: Sequence[str], class_metadata: ClassMetadata | None = None, *,
        settings: SegmentationSettings | None = None, labels: Sequence[int] = (),
    ) -> None:  # fmt: skip
        super().__init__(classes, class_metadata, settings=settings)
        if len(self.classes) > MOST_CLASSES:
            raise ConfigError(f"A segmenter has at most {MOST_CLASSES} classes, and not {len(self.classes):,}.")
        weights = self.settings.loss.class_weights
        if weights is not None and len(weights) != len(self.classes):
            raise ConfigError(
                f"loss.class_weights has {len(weights)} weights for {len(self.classes)} classes: give one for each, in "
                f"the order {', '.join(self.classes)[:200]}."
            )
        self.criterion = PixelCriterion(self.settings.loss)

    @classmethod
    def layout(cls, spec: str) -> DataLayout:
        """Returns the layout of folders of images and masks."""
        advice = "put them into a folder labels beside a folder images, under the images' names"
        return needed_layout(cls.name, spec, parts="masks", advice=advice)

    @classmethod
    def inspect(cls, spec: str, *, seed: int = 0, progress: Progress | None = None) -> Inspection:
        """Decodes every image and mask once, and reports faults."""
        from sparsevision.tasks.segmentation.inspection import inspect_masks

        opener = partial(cls.open, spec, seed=seed)
        return inspect_masks(opener, partial(cls.splits, spec), cls.check_sets, spec, progress)

    @classmethod
    def relabel(cls, target: np.ndarray, labels: Sequence[int]) -> np.ndarray:
        """Returns a mask with the model's numbers of classes."""
        table = np.full(IGNORED + 1, IGNORED, dtype=np.uint8)
        table[: len(labels)] = labels
        return table[target]

    @classmethod
    def fitted(cls, preprocessing: Preprocessing) -> dict[str, Any]:
        """Returns nothing: the default recipe's sizes suit every segmenter."""
        return {}

    def train_transform(self) -> Transform:
        """Returns the random transform of the settings."""
        return train_transform(self.settings.transforms)

    def evaluation_transform(self, preprocessing: Preprocessing) -> Transform:
        """Returns the view of the preprocessing with the whole mask."""
        self.check_preprocessing(preprocessing)
        return EvaluationTransform(preprocessing, target_of)

    @classmethod
    def check_preprocessing(cls, preprocessing: Preprocessing) -> None:
        """Refuses views that cut pixels off."""
        if preprocessing.fit == "crop":
            raise ConfigError("A segmenter is shown whole images: give a preprocessing with fit='short' or 'stretch'.")

    def collate(self, samples: list[Sample]) -> Batch:
        """Stacks samples; raises DataError for a mask with an index of no class."""
        for sample in samples:
            largest = int(sample.target.where(sample.target != IGNORED, 0).max()) if sample.target.numel() else 0
            if largest >= len(self.classes):
                raise DataError(f"{sample.name} has pixels of class {largest}, of {len(self.classes)} from 0.")
        return batch_of(samples, [sample.target for sample in samples])

    def blank(self, preprocessing: Preprocessing) -> Batch:
        """Returns a batch of one empty image, none of whose pixels count."""
        side = 64
        image = torch.zeros(1, len(preprocessing.mean), side, side)
        return Batch(image, [torch.full((side, side), IGNORED)], [""], [-1])

    def count(self, batch: Batch) -> Tensor:
        """Returns the numbers of pixels that count and of images (2,)."""
        pixels = sum(int((mask != IGNORED).sum()) for mask in batch.targets)
        return torch.tensor([float(pixels), float(len(batch))])

    def loss(self, output: SegmentationOutput, batch: Batch, count: Tensor) -> dict[str, Tensor]:
        """Returns the weighted losses, summed over the heads, by kind."""
        pixels, images = count.unbind()
        masks = torch.stack(batch.targets)
        terms: dict[str, Tensor] = {}
        for place, head in enumerate(output.heads):
            weight = self.settings.loss.auxiliary if place else 1.0
            for name, value in self.criterion(head, masks, pixels, images).items():
                terms[name] = terms.get(name, value.new_zeros(())) + weight * value
        return terms

    def foreground(self, batch: Batch) -> list[Tensor] | None:
        """Returns the pixels of all classes but the one called background; None where there is none."""
        names = [name.casefold() for name in self.classes]
        if BACKGROUND not in names:
            return None
        return [(mask != names.index(BACKGROUND)) & (mask != IGNORED) for mask in batch.targets]

    def metrics(self) -> SegmentationMetrics:
        """Returns a fresh accumulator."""
        return SegmentationMetrics(self.classes)

    @property
    def options(self) -> Mapping[str, Option]:
        """How areas are counted, and windows for large images."""
        area = "smallest area that is counted, in pixels"
        window = (
            "side in pixels of the overlapping windows that an image is divided into, each seen as an image by itself: "
            "as large as the images that the model was trained on; 0 shows the image whole"
        )
        return {
            "min_area": Control("min_area", 1, 1, 1_000_000_000, area, whole=True),
            "window": Control("window", 0, 0, 65_536, window, whole=True),
        }

    def reader(self, **options: Any) -> Reader:
        """Returns a function from outputs and their batches to class maps in pixels of the originals."""
        return partial(self.results, min_area=options.get("min_area", 1))

    def tiling(self, **options: Any) -> Tiling | None:
        """Returns the division of an image into windows, None where there is to be none.

        Raises ConfigError for a window that is smaller than the least input of a network.
        """
        if not (side := options.get("window", 0)):
            return None
        if side < LEAST_SIDE:
            raise ConfigError(f"window is {side}; it must be at least {LEAST_SIDE} pixels, or 0 for the whole image.")
        return partial(WindowedResult, task=self, side=side, min_area=options.get("min_area", 1))

    def results(self, output: SegmentationOutput, batch: Batch, *, min_area: int = 1) -> list[SegmentationResult]:
        """Turns an output into one result an image."""
        view = (batch.images.shape[2], batch.images.shape[3])
        geometries = batch.geometries or [None] * len(batch)
        found = []
        for index, (name, geometry) in enumerate(zip(batch.names, geometries, strict=True)):
            labels = class_map(output.heads[0], index, view, geometry.original_size if geometry else view)
            found.append(self.result(name, labels.cpu().numpy(), geometry, min_area))
        return found

    def result(self, name: str, labels: np.ndarray, geometry: Geometry | None, min_area: int) -> SegmentationResult:
        """Returns the result of one image's class map."""
        return SegmentationResult(name=name, classes=self.classes, labels=labels, geometry=geometry, min_area=min_area)


class WindowedResult(WindowedImage):
    """An image in windows that becomes a task's result."""

    def __init__(
        self, image: Any, name: str, position: int, preprocessing: Preprocessing, *, task: SegmentationTask, side: int,
        min_area: int,
    ) -> None:  # fmt: skip
        super().__init__(image, name, position, preprocessing, side)
        self.task, self.min_area = task, min_area

    def result(self) -> SegmentationResult:
        """Returns the result of the whole image."""
        return self.task.result(self.name, self.labels(), self.geometry, self.min_area)
