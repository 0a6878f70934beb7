"""Detection: what every head of a detector is taught, and what it says of a picture (DETR's set prediction)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou_loss, sigmoid_focal_loss

from sparsevision.tasks.matching import ALPHA, GAMMA, Costs, match
from sparsevision.types import DetectionHead

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
