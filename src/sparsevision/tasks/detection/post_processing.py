"""From a detector's head to detections in pixels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import box_convert

from sparsevision.types import Batch, DetectionHead

# Detections of a picture that are kept, by score, before any threshold.
BEST = 100


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


def original_sizes(batch: Batch) -> Int[Tensor, "batch 2"]:
    """Returns the height and width of each picture before preprocessing; where none is known, as it is."""
    shown = tuple(batch.images.shape[-2:])
    sizes = [shown if geometry is None else geometry.original_size for geometry in batch.geometries]
    return torch.tensor(sizes, device=batch.images.device)
