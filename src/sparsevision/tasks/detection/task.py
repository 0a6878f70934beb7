"""Detection: objects of classes with their boxes, by the assignment and the losses of DETR's set prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sparsevision.data.dataset import Dataset
from sparsevision.data.inspection import Inspection
from sparsevision.data.layouts.registry import DataLayout
from sparsevision.data.loading import batch_of
from sparsevision.data.objects import Objects
from sparsevision.data.preprocessing import LEAST_SIDE
from sparsevision.errors import ConfigError, DataError
from sparsevision.outputs import DetectionOutput
from sparsevision.tasks.contract import Measure, Progress, Task, Tiling, Transform, WriterEntry
from sparsevision.tasks.detection.criterion import SetCriterion
from sparsevision.tasks.detection.matching import SetWeights
from sparsevision.tasks.detection.metrics import MEASURES, NEUTRAL_THRESHOLD, DetectionMetrics
from sparsevision.tasks.detection.post_processing import BEST, Detections, PostProcess, original_sizes
from sparsevision.tasks.detection.result import DetectionResult
from sparsevision.tasks.detection.slices import SlicedImage
from sparsevision.tasks.detection.transforms import (
    DetectionSettings,
    check_preprocessing,
    evaluation_transform,
    train_transform,
)
from sparsevision.tasks.detection.writers import beside_coco, open_coco
from sparsevision.tasks.registry import needed_layout
from sparsevision.types import Batch, ClassMetadata, Control, Geometry, Option, Preprocessing, Sample

Target = dict[str, Tensor]
# The mean of the classes' F1 scores below which most of what is drawn is wrong or missing.
POOR_F1 = 0.5


class DetectionTask(Task):
    """Detection of objects of `classes`; targets are dictionaries, one an image, as `transforms.target_of` makes them.

    The losses of a head are averaged over the objects of a step, auxiliary losses of the network over its images.
    """

    name: ClassVar[str] = "detection"
    Settings: ClassVar[type[DetectionSettings]] = DetectionSettings
    measures: ClassVar[tuple[Measure, ...]] = MEASURES
    recipe: ClassVar[str] = "objects_nano"
    page: ClassVar[str | None] = __package__
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
        loss = self.settings.loss
        self.criterion = SetCriterion(SetWeights(loss.classes, loss.l1, loss.giou), loss.class_target)

    @classmethod
    def layout(cls, spec: str) -> DataLayout:
        """Returns COCO's layout, YOLO's or Pascal VOC's, or that of drawn scenes."""
        advice = (
            "put COCO's json at annotations/train.json, YOLO's data.yaml into it, or Pascal VOC's xml files into "
            "Annotations"
        )
        return needed_layout(cls.name, spec, parts="boxes", advice=advice)

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
        """Tells where an image shows more objects than the model can find."""
        queries = getattr(getattr(model, "config", None), "num_queries", None)
        return [
            f"An image of {name} shows {most:,} objects, more than the {queries} queries of the model, which find one "
            "each: raise model.config.num_queries."
            for name, most in _most_objects(train, val).items()
            if queries is not None and most > queries
        ]

    def caveats(self, **options: Any) -> list[str]:
        """Tells of thresholds at which training found little right."""
        found = [f1 for f1 in self.class_metadata.f1 or () if f1 is not None]
        score = sum(found) / max(len(found), 1)
        if not found or score >= POOR_F1 or options.get("threshold") is not None:
            return []
        return [f"At its thresholds the model had a mean F1 of {score:.2f} on val: expect wrong and missing objects."]

    @classmethod
    def fitted_config(cls, train: Dataset, val: Dataset, config: Any) -> dict[str, Any]:
        """Returns a number of queries for the most crowded image, where the model's own are too few."""
        most = max(_most_objects(train, val).values())
        return config.for_objects(most) if hasattr(config, "for_objects") else {}

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

    def late_transform(self, epochs_left: int) -> Transform | None:
        """Returns the transform without crops and changes of colour for the last epochs (`transforms.plain_epochs`)."""
        transforms = self.settings.transforms
        if epochs_left > transforms.plain_epochs:
            return None
        return train_transform(transforms.model_copy(update={"crop": 0.0, "color_jitter": 0.0}))

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
        """The minimum score of an object, the number of objects in a result, doubles, and slices of large images."""
        about = "minimum score of an object, in place of each class's own that the weights carry"
        most = f"largest number of objects in a result; 0 is as many as the model has queries, {BEST} at least"
        nms = "overlap of a box with a better one of its class above which it is left out as a duplicate; 1 leaves all"
        slices = (
            "side in pixels of the overlapping slices that an image is divided into, each seen as an image by itself: "
            "as large as the images that the model was trained on; 0 shows the image whole"
        )
        return {
            "threshold": Control("threshold", NEUTRAL_THRESHOLD, 0.0, 1.0, about),
            "max_objects": Control("max_objects", 0, 0, 1_000_000, most, whole=True),
            "nms": Control("nms", 1.0, 0.0, 1.0, nms),
            "slice": Control("slice", 0, 0, 65_536, slices, whole=True),
        }

    def reader(self, **options: Any) -> Callable[[DetectionOutput, Batch], list[DetectionResult]]:
        """Returns a function from outputs and their batches to results above the threshold.

        Without one, each class has the threshold that the weights carry, or else 0.5.
        """
        process = PostProcess(int(options.get("max_objects", 0)), float(options.get("nms", 1.0)))
        return partial(self.results, threshold=options.get("threshold"), process=process)

    def tiling(self, **options: Any) -> Tiling | None:
        """Returns the division of an image into slices, None where there is to be none.

        Raises ConfigError for a slice that is smaller than the least input of a network.
        """
        if not (side := int(options.get("slice", 0))):
            return None
        if side < LEAST_SIDE:
            raise ConfigError(f"slice is {side}; it must be at least {LEAST_SIDE} pixels, or 0 for the whole image.")
        most, nms = int(options.get("max_objects", 0)), float(options.get("nms", 1.0))
        threshold = options.get("threshold")
        return partial(
            SlicedImage, side=side, most=most, process=PostProcess(nms=nms), finish=self.result,
            counted=partial(self.counted, threshold=threshold),
        )  # fmt: skip

    def results(
        self, output: DetectionOutput, batch: Batch, *, threshold: float | None = None,
        process: PostProcess | None = None,
    ) -> list[DetectionResult]:  # fmt: skip
        """Turns an output into one result an image, in pixels of the original: the best above the threshold."""
        found = (process or PostProcess())(output.heads[0], original_sizes(batch))
        geometries = batch.geometries or [None] * len(batch)
        return [
            self.result(name, geometry, self.counted(one, threshold=threshold))
            for name, geometry, one in zip(batch.names, geometries, found, strict=True)
        ]

    def counted(self, found: Detections, *, threshold: float | None = None) -> Detections:
        """Returns the detections from a threshold on, or from each class's own, or from 0.5."""
        found = Detections(*(tensor.cpu() for tensor in found))
        if threshold is None and self.thresholds is not None:
            least = torch.tensor(self.thresholds)
        else:
            least = torch.full((len(self.classes),), NEUTRAL_THRESHOLD if threshold is None else threshold)
        return found.part(found.scores >= least[found.labels])

    def result(self, name: str, geometry: Geometry | None, found: Detections) -> DetectionResult:
        """Returns the result of one image."""
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


def _most_objects(train: Dataset, val: Dataset) -> dict[str, int]:
    return {name: getattr(each, "most_objects", 0) for name, each in (("train", train), ("val", val))}


def without_crowds(target: Target) -> Target:
    """Returns the part of a target that a detector is trained on: all objects but crowds."""
    if "crowds" not in target:
        return target
    return {name: target[name][~target["crowds"]] for name in ("labels", "boxes")}
