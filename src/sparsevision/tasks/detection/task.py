"""Detection: what every head of a detector is taught, and what it says of a picture (DETR's set prediction)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou_loss, sigmoid_focal_loss

from sparsevision.errors import ConfigError, DataError
from sparsevision.tasks.classification.task import stacked
from sparsevision.tasks.detection.matching import ALPHA, GAMMA, Costs, match
from sparsevision.tasks.detection.metrics import NEUTRAL_THRESHOLD, DetectionMetrics
from sparsevision.tasks.detection.post_processing import BEST, Detections, best_detections, original_sizes
from sparsevision.tasks.detection.result import DetectionResult
from sparsevision.types import Batch, Control, DetectionHead, DetectionOutput, Geometry, Sample

Target = dict[str, Tensor]
WEIGHTS = Costs()


def head_losses(
    head: DetectionHead, targets: Sequence[Target], count: float | Tensor, costs: Costs = WEIGHTS
) -> dict[str, Float[Tensor, ""]]:
    """Returns the three losses of one head, before weighting: "classes", "l1" and "giou".

    A target holds "labels" (T,) and "boxes" (T, 4), (cx, cy, w, h) as fractions of the valid picture. Sums over the
    batch are divided by `count`, the number of objects.
    """
    labels, objects = [target["labels"] for target in targets], [target["boxes"] for target in targets]
    if head.labels == "foreground":
        labels = [torch.zeros_like(each) for each in labels]
    pictures, queries, answered = match(head.logits, head.boxes, labels, objects, costs, head.valid)
    wanted = torch.zeros_like(head.logits)
    wanted[pictures, queries, torch.cat(labels)[answered]] = 1
    focal = sigmoid_focal_loss(head.logits.float(), wanted.float(), alpha=ALPHA, gamma=GAMMA)
    if head.valid is not None:
        focal = focal.masked_fill(~head.valid.unsqueeze(-1), 0)
    found, true = head.boxes[pictures, queries].float(), torch.cat(objects)[answered].float()
    corners = [box_convert(boxes, "cxcywh", "xyxy") for boxes in (found, true)]
    return {
        "classes": focal.sum() / count,
        "l1": F.l1_loss(found, true, reduction="sum") / count,
        "giou": generalized_box_iou_loss(*corners, reduction="sum") / count,
    }


def weighted(losses: dict[str, Tensor], weights: Costs = WEIGHTS) -> dict[str, Tensor]:
    """Returns a head's losses as they enter the sum."""
    return {name: loss * getattr(weights, name) for name, loss in losses.items()}


class DetectionTask:
    """Detection of objects of `classes`; targets are dictionaries, one a picture, as `data.detection` makes them.

    A head's losses are averaged over the objects of a step, the network's own ones over its pictures. `category_ids`
    are the data set's own numbers of the classes; `thresholds` are the scores from which on a detection of a class
    counts, as trained weights carry them.
    """

    score_name = "AP"
    options: ClassVar[dict[str, Control]] = {
        "threshold": Control("threshold", NEUTRAL_THRESHOLD, 0.0, 1.0, "score from which on an object counts")
    }

    def __init__(
        self,
        classes: Sequence[str],
        category_ids: Sequence[int] | None = None,
        thresholds: Sequence[float] | None = None,
        *,
        weights: Costs = WEIGHTS,
    ) -> None:
        self.classes = tuple(classes)
        self.category_ids = tuple(range(len(self.classes)) if category_ids is None else category_ids)
        self.thresholds = thresholds
        self.weights = weights

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Stacks samples, those of different sizes padded with zeros at the right and below and their `sizes` given.

        Raises DataError for an object of a class that there is not, or with a box that is not finite.
        """
        for sample in samples:
            self._check(sample)
        images, sizes = stacked([sample.image for sample in samples])
        return Batch(
            images=images,
            sizes=sizes,
            targets=[sample.target for sample in samples],
            names=[sample.name for sample in samples],
            indices=[sample.index for sample in samples],
            geometries=[sample.geometry for sample in samples],
        )

    def _check(self, sample: Sample) -> None:
        # A class of -1 would be taught as the last one, and of what is too large nobody learns the picture's name.
        labels, boxes = sample.target["labels"], sample.target["boxes"]
        unknown = labels[(labels < 0) | (labels >= len(self.classes))].tolist()
        if unknown:
            raise DataError(
                f"{sample.name} has an object of class {unknown[0]}, of {len(self.classes)} classes that count from 0."
            )
        if not boxes.isfinite().all():
            raise DataError(f"{sample.name} has a box that is not finite: correct it, or leave it out.")

    def blank(self, channels: int, size: int) -> Batch:
        """Returns a batch of one picture that shows nothing."""
        nothing = {"labels": torch.zeros(0, dtype=torch.long), "boxes": torch.zeros(0, 4)}
        return Batch(torch.zeros(1, channels, size, size), [nothing], [""], [-1])

    def count(self, batch: Batch) -> Tensor:
        """What the losses are averaged over: (objects, pictures)."""
        objects = sum(len(target["labels"]) for target in map(taught, batch.targets))
        return torch.tensor([float(objects), float(len(batch))])

    def loss(self, output: DetectionOutput, batch: Batch, count: Tensor) -> dict[str, Tensor]:
        """Returns the weighted losses summed over the heads, by kind, and the network's own."""
        objects, pictures = count.unbind()
        targets = [taught(target) for target in batch.targets]
        terms: dict[str, Tensor] = {}
        for head in output.heads:
            for name, loss in weighted(head_losses(head, targets, objects, self.weights), self.weights).items():
                terms[name] = terms[name] + loss if name in terms else loss
        return terms | {name: losses.sum() / pictures for name, losses in output.own_losses.items()}

    def metrics(self) -> DetectionMetrics:
        """Returns a fresh accumulator of average precision, which joins the processes of a distributed run."""
        return DetectionMetrics(self.classes, self.category_ids, self.thresholds)

    def results(
        self, output: DetectionOutput, batch: Batch, *, keep: int = BEST, threshold: float | None = None
    ) -> list[DetectionResult]:
        """Turns an output into one result a picture, in pixels of the original: the `keep` best that count.

        A detection counts from its class's threshold on, or from `threshold` on, where that is given.
        """
        own = None if self.thresholds is None else torch.tensor(self.thresholds)
        least = own if threshold is None else torch.full((len(self.classes),), threshold)
        found = best_detections(output.heads[0], original_sizes(batch), keep)
        geometries = batch.geometries or [None] * len(batch)
        return [
            self._result(name, geometry, Detections(*(tensor.cpu() for tensor in one)), least)
            for name, geometry, one in zip(batch.names, geometries, found, strict=True)
        ]

    def reading(self, **options: Any) -> Callable[[DetectionOutput, Batch], list[DetectionResult]]:
        """Returns what turns outputs and their batches into results of what counts: from `threshold` on, where given.

        Weights that carry no thresholds of their classes count from 0.5 on.
        """
        threshold = options.get("threshold", None if self.thresholds is not None else NEUTRAL_THRESHOLD)
        if threshold is not None and not (isinstance(threshold, int | float) and 0 <= threshold <= 1):
            raise ConfigError(f"threshold is {threshold}; it must be a score from 0 to 1.")
        return partial(self.results, threshold=threshold)

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


def taught(target: Target) -> Target:
    """Returns what a detector is to find of a target: all objects but crowds."""
    if "crowds" not in target:
        return target
    return {name: target[name][~target["crowds"]] for name in ("labels", "boxes")}
