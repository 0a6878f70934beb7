"""Detection: what every head of a detector is taught, and what it says of a picture (DETR's set prediction)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou_loss, sigmoid_focal_loss

from sparsevision.errors import MissingExtraError
from sparsevision.tasks.classification import stacked
from sparsevision.tasks.matching import ALPHA, GAMMA, Costs, match
from sparsevision.types import Batch, DetectionHead, DetectionOutput, DetectionResult, Sample

Target = dict[str, Tensor]
WEIGHTS = Costs()
# Detections of a picture that are kept, by score, before any threshold.
BEST = 100


def head_losses(
    head: DetectionHead, targets: Sequence[Target], count: float | Tensor, costs: Costs = WEIGHTS
) -> dict[str, Float[Tensor, ""]]:
    """Returns the three losses of one head, before weighting: "classes", "l1" and "giou".

    A target holds "labels" (T,) and "boxes" (T, 4), (cx, cy, w, h) as fractions of the valid picture. Sums over the
    batch are divided by `count`, the number of objects.
    """
    wanted = torch.zeros_like(head.logits)
    picked, objects = [], []
    for index, target in enumerate(targets):
        labels = target["labels"]
        if head.labels == "foreground":
            labels = torch.zeros_like(labels)
        rows = None if head.valid is None else head.valid[index].nonzero().squeeze(1)
        answers, answered = match(head.logits[index], head.boxes[index], labels, target["boxes"], costs, rows)
        wanted[index, answers, labels[answered]] = 1
        picked.append(head.boxes[index, answers])
        objects.append(target["boxes"][answered])
    focal = sigmoid_focal_loss(head.logits.float(), wanted.float(), alpha=ALPHA, gamma=GAMMA)
    if head.valid is not None:
        focal = focal.masked_fill(~head.valid.unsqueeze(-1), 0)
    found, true = torch.cat(picked).float(), torch.cat(objects).float()
    corners = [box_convert(boxes, "cxcywh", "xyxy") for boxes in (found, true)]
    return {
        "classes": focal.sum() / count,
        "l1": F.l1_loss(found, true, reduction="sum") / count,
        "giou": generalized_box_iou_loss(*corners, reduction="sum") / count,
    }


def weighted(losses: dict[str, Tensor], weights: Costs = WEIGHTS) -> dict[str, Tensor]:
    """Returns a head's losses as they enter the sum."""
    return {name: loss * getattr(weights, name) for name, loss in losses.items()}


class Detections(NamedTuple):
    """The best detections of one picture, best first; `boxes` are (x0, y0, x1, y1) in its pixels."""

    scores: Float[Tensor, " found"]
    labels: Int[Tensor, " found"]
    boxes: Float[Tensor, "found 4"]


def best_detections(head: DetectionHead, sizes: Int[Tensor, "batch 2"], keep: int = BEST) -> list[Detections]:
    """Returns each picture's best pairs of query and class; `sizes` are its height and width.

    No box suppresses another: a query answers for one object, and learns not to repeat what another one says.
    """
    scores = head.logits.float().sigmoid()
    if head.valid is not None:
        scores = scores.masked_fill(~head.valid.unsqueeze(-1), 0)
    classes = scores.shape[-1]
    values, places = scores.flatten(1).topk(min(keep, scores[0].numel()), dim=1)
    boxes = box_convert(head.boxes.float(), "cxcywh", "xyxy")
    boxes = boxes.gather(1, (places // classes).unsqueeze(-1).expand(-1, -1, 4))
    boxes = boxes * sizes.flip(-1).repeat(1, 2).unsqueeze(1)
    return [Detections(*found) for found in zip(values, places % classes, boxes, strict=True)]


class DetectionTask:
    """Detection of objects of `classes`; targets are dictionaries, one a picture, as `data.detection` makes them.

    A head's losses are averaged over the objects of a step, the network's own ones over its pictures.
    """

    score_name = "AP"

    def __init__(self, classes: Sequence[str], *, weights: Costs = WEIGHTS) -> None:
        self.classes = tuple(classes)
        self.weights = weights

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Stacks samples, those of different sizes padded with zeros at the right and below and their `sizes` given."""
        images, sizes = stacked([sample.image for sample in samples])
        return Batch(
            images=images,
            sizes=sizes,
            targets=[sample.target for sample in samples],
            names=[sample.name for sample in samples],
            indices=[sample.index for sample in samples],
            geometries=[sample.geometry for sample in samples],
        )

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
        return DetectionMetrics(self.classes)

    def results(self, output: DetectionOutput, batch: Batch, *, keep: int = BEST) -> list[DetectionResult]:
        """Turns an output into one result a picture, with the `keep` best detections in pixels of the original."""
        return [
            DetectionResult(
                name,
                tuple(self.classes[label] for label in found.labels.tolist()),
                tuple(found.scores.tolist()),
                tuple(tuple(box) for box in found.boxes.tolist()),
            )
            for name, found in zip(
                batch.names, best_detections(output.heads[0], original_sizes(batch), keep), strict=True
            )
        ]


def taught(target: Target) -> Target:
    """Returns what a detector is to find of a target: all objects but crowds."""
    if "crowds" not in target:
        return target
    return {name: target[name][~target["crowds"]] for name in ("labels", "boxes")}


def original_sizes(batch: Batch) -> Int[Tensor, "batch 2"]:
    """Returns the height and width of each picture before preprocessing; where none is known, as it is."""
    shown = tuple(batch.images.shape[-2:])
    sizes = [shown if geometry is None else geometry.original_size for geometry in batch.geometries]
    return torch.tensor(sizes, device=batch.images.device)


@dataclass(frozen=True)
class DetectionReport:
    """How well a detector does: average precisions and recall as COCO defines them, as fractions.

    `ap` is the mean over overlaps of 0.50 to 0.95, `small`, `medium` and `large` are for objects of under 32 squared,
    under 96 squared and more pixels (-1 without such objects); `per_class` has None for classes without objects.
    """

    pictures: int
    ap: float
    ap50: float
    ap75: float
    small: float
    medium: float
    large: float
    recall: float
    classes: tuple[str, ...]
    per_class: tuple[float | None, ...]

    @property
    def score(self) -> float:
        """The number by which one set of weights counts as better than another."""
        return self.ap

    def scalars(self) -> dict[str, float]:
        """Returns the measures that are one number."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.type in ("int", "float")}

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON takes it."""
        return {**self.scalars(), "per_class": dict(zip(self.classes, self.per_class, strict=True))}

    def headline(self) -> str:
        """Says the measures that matter in one line."""
        return f"AP {self.ap:.2%}, AP50 {self.ap50:.2%}, AP75 {self.ap75:.2%}, recall {self.recall:.2%}"


class DetectionMetrics:
    """Collects detections against objects, not the pictures' outputs; `compute` joins what every process collected."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        if find_spec("faster_coco_eval") is None:
            raise MissingExtraError("faster-coco-eval", "detection", "Scoring a detector")
        self.classes = classes
        # By the picture's index: on several processes the last batches may repeat one.
        self._scored: dict[int, _Scored] = {}

    def to(self, device: Any) -> DetectionMetrics:
        """Stays in main memory, whatever the device."""
        return self

    def update(self, output: DetectionOutput, batch: Batch) -> None:
        """Adds a batch."""
        if not len(batch):
            return
        sizes = original_sizes(batch)
        found = best_detections(output.heads[0], sizes)
        for index, target, one, size in zip(batch.indices, batch.targets, found, sizes.tolist(), strict=True):
            detections = Detections(*(tensor.cpu().double() for tensor in one))
            self._scored[index] = _Scored(detections, {key: value.cpu() for key, value in target.items()}, tuple(size))

    def compute(self) -> DetectionReport:
        """Returns the report over everything that was added, on all processes."""
        scored = self._scored
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            parts: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, scored)
            scored = {index: one for part in parts for index, one in part.items()}
        if not scored:
            return DetectionReport(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, self.classes, (None,) * len(self.classes))
        stats, precision = _coco_evaluation(scored, self.classes)
        ap, ap50, ap75, small, medium, large = (float(value) for value in stats[:6])
        per_class = []
        for one_class in np.moveaxis(precision, 2, 0):
            known = one_class[..., 0, -1]
            known = known[known > -1]
            per_class.append(float(known.mean()) if known.size else None)
        return DetectionReport(
            len(scored), ap, ap50, ap75, small, medium, large, float(stats[8]), self.classes, tuple(per_class)
        )


class _Scored(NamedTuple):
    found: Detections
    target: Target
    size: tuple[int, ...]


def _coco_evaluation(scored: Mapping[int, _Scored], classes: Sequence[str]) -> tuple[Sequence[float], np.ndarray]:
    """Returns COCO's summary, and the precisions (overlaps, recalls, classes, areas, detections a picture)."""
    from faster_coco_eval import COCO, COCOeval_faster

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    for index, ((scores, labels, boxes), target, (height, width)) in sorted(scored.items()):
        images.append({"id": index, "height": height, "width": width})
        sides = torch.tensor([width, height] * 2, dtype=torch.float64)
        true = box_convert(target["boxes"].double(), "cxcywh", "xywh") * sides
        crowds = target.get("crowds", torch.zeros(len(true), dtype=torch.bool)).tolist()
        areas = (target["areas"] * height * width if "areas" in target else true[:, 2] * true[:, 3]).tolist()
        for label, box, area, crowd in zip(target["labels"].tolist(), true.tolist(), areas, crowds, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": index, "category_id": label, "bbox": box, "area": area,
                    "iscrowd": int(crowd),
                }
            )  # fmt: skip
        for score, label, box in zip(
            scores.tolist(), labels.tolist(), box_convert(boxes, "xyxy", "xywh").tolist(), strict=True
        ):
            detections.append({"image_id": index, "category_id": int(label), "bbox": box, "score": score})
    categories = [{"id": number, "name": name} for number, name in enumerate(classes)]
    truth = COCO({"images": images, "annotations": annotations, "categories": categories})
    evaluation = COCOeval_faster(truth, truth.loadRes(detections), "bbox", print_function=lambda *_: None)
    evaluation.run()
    return evaluation.stats, evaluation.eval["precision"]
