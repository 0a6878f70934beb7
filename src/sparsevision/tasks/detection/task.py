"""Detection: objects of classes with their boxes, by the assignment and the losses of DETR's set prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sparsevision.data.dataset import Dataset
from sparsevision.data.inspection import Inspection
from sparsevision.data.layouts.registry import DataLayout
from sparsevision.data.loading import batch_of
from sparsevision.data.objects import Objects
from sparsevision.errors import DataError
from sparsevision.outputs import DetectionOutput
from sparsevision.tasks.contract import Measure, Progress, Task, Transform, WriterEntry
from sparsevision.tasks.detection.criterion import SetCriterion
from sparsevision.tasks.detection.matching import SetWeights
from sparsevision.tasks.detection.metrics import MEASURES, NEUTRAL_THRESHOLD, DetectionMetrics
from sparsevision.tasks.detection.post_processing import BEST, Detections, PostProcess, original_sizes
from sparsevision.tasks.detection.result import DetectionResult
from sparsevision.tasks.detection.transforms import (
    DetectionSettings,
    check_preprocessing,
    evaluation_transform,
    train_transform,
)
from sparsevision.tasks.detection.writers import beside_coco, open_coco
from sparsevision.tasks.registry import layout_of, task_of_data
from sparsevision.types import Batch, ClassMetadata, Control, Geometry, Option, Preprocessing, Sample

Target = dict[str, Tensor]
SCORED = "that are scored and, unless --max-objects is given, reported"


class DetectionTask(Task):
    """Detection of objects of `classes`; targets are dictionaries, one an image, as `transforms.target_of` makes them.

    The losses of a head are averaged over the objects of a step, auxiliary losses of the network over its images.
    """

    name: ClassVar[str] = "detection"
    Settings: ClassVar[type[DetectionSettings]] = DetectionSettings
    measures: ClassVar[tuple[Measure, ...]] = MEASURES
    recipe: ClassVar[str] = "objects_nano"
    evaluation_batch: ClassVar[int] = 8
    prediction_batch: ClassVar[int] = 4
    writers: ClassVar[Mapping[str, WriterEntry]] = {
        "coco": WriterEntry(
            description="the objects as COCO's results json; images are numbered from 1, as the .images.json file "
            "beside it lists, unless --annotations is given",
            open=open_coco,
            options={"annotations": "a COCO json whose ids of images (by file name) and categories (by name) are used"},
            beside=beside_coco,
        )
    }
    settings: DetectionSettings

    def __init__(
        self, classes: Sequence[str], class_metadata: ClassMetadata | None = None, *,
        settings: DetectionSettings | None = None, labels: Sequence[int] = (),
    ) -> None:  # fmt: skip
        super().__init__(classes, class_metadata, settings=settings)
        numbers = self.class_metadata.category_ids
        self.category_ids = tuple(range(len(self.classes))) if numbers is None else tuple(numbers)
        self.thresholds = self.class_metadata.thresholds
        self.criterion = SetCriterion(SetWeights(**self.settings.loss.model_dump()))

    @classmethod
    def layout(cls, spec: str) -> DataLayout:
        """Returns COCO's layout, YOLO's or Pascal VOC's, or that of drawn scenes."""
        if (found := layout_of(cls.name, spec)) is not None:
            return found
        if not Path(spec).is_dir():
            raise DataError(f"The folder {spec} does not exist: give one with images and their boxes.")
        raise DataError(
            f"{spec} has no boxes: put COCO's json at annotations/train.json, YOLO's data.yaml into it, or Pascal "
            f"VOC's xml files into Annotations. If it is a data set for {task_of_data(spec)}, name another --model."
        )

    @classmethod
    def inspect(cls, spec: str, *, seed: int = 0, progress: Progress | None = None) -> Inspection:
        """Decodes every image once, and reports faults of images and boxes."""
        from sparsevision.tasks.detection.inspection import inspect_boxes

        opener = partial(cls.open, spec, seed=seed)
        return inspect_boxes(opener, partial(cls.splits, spec), cls.check_sets, spec, progress)

    @classmethod
    def metadata_of(cls, dataset: Dataset) -> ClassMetadata:
        """Returns the data set's own numbers of its classes."""
        return ClassMetadata(category_ids=getattr(dataset, "category_ids", None))

    @classmethod
    def check_sets(cls, spec: str, train: Dataset, val: Dataset) -> None:
        """Refuses empty sets, and sets of images without a single object."""
        super().check_sets(spec, train, val)
        for what, dataset in (("train on", train), ("score", val)):
            if all(label < 0 for label in dataset.labels):
                raise DataError(
                    f"None of the {len(dataset)} images of {spec!r} to {what} shows an object: see that annotations "
                    "lie where the layout has them (`sparsevision doctor` examines them)."
                )

    def remarks(self, train: Dataset, val: Dataset, preprocessing: Preprocessing, model: Any) -> list[str]:
        """Tells where an image shows more objects than the model can find, or than are scored."""
        queries = getattr(getattr(model, "config", None), "num_queries", None)
        counts = {name: getattr(each, "most_objects", 0) for name, each in (("train", train), ("val", val))}
        return [
            f"An image of {name} shows {most:,} objects, more than the {limit} {what}."
            for name, most in counts.items()
            for limit, what in ((queries, "queries of the model, which find one each"), (BEST, SCORED))
            if limit is not None and most > limit
        ]

    @classmethod
    def relabel(cls, target: Objects, labels: Sequence[int]) -> Objects:
        """Returns objects with the model's numbers of classes."""
        return replace(target, labels=np.array(labels, dtype=np.int64)[target.labels])

    @classmethod
    def fitted(cls, preprocessing: Preprocessing) -> dict[str, Any]:
        """Returns nothing: the default recipe's sizes suit every detector."""
        return {}

    def train_transform(self) -> Transform:
        """Returns the random transform of the settings."""
        return train_transform(self.settings.transforms)

    def evaluation_transform(self, preprocessing: Preprocessing) -> Transform:
        """Returns the view of the preprocessing with all objects, crowds too."""
        return evaluation_transform(preprocessing)

    @classmethod
    def check_preprocessing(cls, preprocessing: Preprocessing) -> None:
        """Refuses views that cut objects off."""
        check_preprocessing(preprocessing)

    def collate(self, samples: list[Sample]) -> Batch:
        """Stacks samples; those of different sizes are padded and their `sizes` given.

        Raises DataError for an object of an unknown class, or with a box that is not finite.
        """
        for sample in samples:
            self._check(sample)
        return batch_of(samples, [sample.target for sample in samples])

    def _check(self, sample: Sample) -> None:
        # A class of -1 would be trained as the last one, and a class that is too large would not name its image.
        labels, boxes = sample.target["labels"], sample.target["boxes"]
        unknown = labels[(labels < 0) | (labels >= len(self.classes))].tolist()
        if unknown:
            raise DataError(
                f"{sample.name} has an object of class {unknown[0]}, of {len(self.classes)} classes that count from 0."
            )
        if not boxes.isfinite().all():
            raise DataError(f"{sample.name} has a box that is not finite: correct it, or leave it out.")

    def blank(self, preprocessing: Preprocessing) -> Batch:
        """Returns a batch of one empty image without objects."""
        nothing = {"labels": torch.zeros(0, dtype=torch.long), "boxes": torch.zeros(0, 4)}
        side = preprocessing.size[0]
        return Batch(torch.zeros(1, len(preprocessing.mean), side, side), [nothing], [""], [-1])

    def count(self, batch: Batch) -> Tensor:
        """Returns the numbers of objects and of images (2,)."""
        objects = sum(len(target["labels"]) for target in map(without_crowds, batch.targets))
        return torch.tensor([float(objects), float(len(batch))])

    def loss(self, output: DetectionOutput, batch: Batch, count: Tensor) -> dict[str, Tensor]:
        """Returns the weighted losses summed over the heads, by kind, and the network's auxiliary losses."""
        objects, images = count.unbind()
        terms = self.criterion(output, [without_crowds(target) for target in batch.targets], objects, images)
        return terms | {name: losses.sum() / images.clamp(min=1) for name, losses in output.auxiliary_losses.items()}

    def metrics(self) -> DetectionMetrics:
        """Returns a fresh accumulator of average precision."""
        return DetectionMetrics(self.classes, self.category_ids, self.thresholds)

    @property
    def options(self) -> Mapping[str, Option]:
        """The minimum score of an object, and the largest number of objects in a result."""
        about = "minimum score of an object, in place of each class's own that the weights carry"
        most = "largest number of objects in a result, of which the model finds no more than it has queries and classes"
        return {
            "threshold": Control("threshold", NEUTRAL_THRESHOLD, 0.0, 1.0, about),
            "max_objects": Control("max_objects", BEST, 1, 1_000_000, most, whole=True),
        }

    def reader(self, **options: Any) -> Callable[[DetectionOutput, Batch], list[DetectionResult]]:
        """Returns a function from outputs and their batches to results above the threshold.

        Without one, each class has the threshold that the weights carry, or else 0.5.
        """
        threshold = options.get("threshold", None if self.thresholds is not None else NEUTRAL_THRESHOLD)
        return partial(self.results, threshold=threshold, keep=int(options.get("max_objects", BEST)))

    def results(
        self, output: DetectionOutput, batch: Batch, *, keep: int = BEST, threshold: float | None = None
    ) -> list[DetectionResult]:
        """Turns an output into one result an image, in pixels of the original: the `keep` best above the threshold."""
        own = None if self.thresholds is None else torch.tensor(self.thresholds)
        least = own if threshold is None else torch.full((len(self.classes),), threshold)
        found = PostProcess(keep)(output.heads[0], original_sizes(batch))
        geometries = batch.geometries or [None] * len(batch)
        return [
            self._result(name, geometry, Detections(*(tensor.cpu() for tensor in one)), least)
            for name, geometry, one in zip(batch.names, geometries, found, strict=True)
        ]

    def _result(self, name: str, geometry: Geometry | None, found: Detections, least: Tensor | None) -> DetectionResult:
        if least is not None:
            counts = found.scores >= least[found.labels]
            found = Detections(*(tensor[counts] for tensor in found))
        labels = found.labels.tolist()
        return DetectionResult(
            name=name,
            classes=self.classes,
            labels=tuple(self.classes[label] for label in labels),
            scores=tuple(found.scores.tolist()),
            boxes=tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in found.boxes.tolist()),
            category_ids=tuple(self.category_ids[label] for label in labels),
            geometry=geometry,
        )


def without_crowds(target: Target) -> Target:
    """Returns the part of a target that a detector is trained on: all objects but crowds."""
    if "crowds" not in target:
        return target
    return {name: target[name][~target["crowds"]] for name in ("labels", "boxes")}
