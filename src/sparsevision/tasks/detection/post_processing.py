"""From the head of a detector to detections in pixels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import batched_nms, box_convert

from sparsevision.outputs import DetectionHead, at_least_single
from sparsevision.types import Batch

# Detections of an image that are kept at least, by score, before any threshold.
BEST = 100
# Detections among which duplicates are looked for.
CANDIDATES = 1000


class Detections(NamedTuple):
    """The best detections of one image, best first; `boxes` are (x0, y0, x1, y1) in its pixels."""

    scores: Float[Tensor, " found"]
    labels: Int[Tensor, " found"]
    boxes: Float[Tensor, "found 4"]

    def part(self, chosen: Tensor | slice) -> Detections:
        """Returns some of the detections."""
        return Detections(self.scores[chosen], self.labels[chosen], self.boxes[chosen])


class PostProcess:
    """Selects the best pairs of a row and a class of each image, as the head forms its scores.

    `keep` is their number; 0 is as many as the head has rows, 100 at least. No box suppresses another (a query answers
    for one object, and learns not to repeat another one's), unless `nms` is below 1: a box whose overlap with a better
    one of its class is above it is left out.
    """

    def __init__(self, keep: int = 0, nms: float = 1.0) -> None:
        self.keep, self.nms = keep, nms

    def __call__(self, head: DetectionHead, sizes: Int[Tensor, "batch 2"]) -> list[Detections]:
        """Returns the detections of each image; `sizes` are its height and width in pixels."""
        scores = head.probabilities()
        classes, keep = scores.shape[-1], self.keep or max(BEST, scores.shape[1])
        candidates = keep if self.nms >= 1 else max(keep, CANDIDATES)
        values, places = scores.flatten(1).topk(min(candidates, scores[0].numel()), dim=1)
        boxes = box_convert(at_least_single(head.boxes), "cxcywh", "xyxy")
        boxes = boxes.gather(1, (places // classes).unsqueeze(-1).expand(-1, -1, 4))
        boxes = boxes * sizes.flip(-1).repeat(1, 2).unsqueeze(1)
        found = [Detections(*each) for each in zip(values, places % classes, boxes, strict=True)]
        return found if self.nms >= 1 else [self._suppressed(each).part(slice(keep)) for each in found]

    def _suppressed(self, found: Detections) -> Detections:
        return found.part(batched_nms(found.boxes, found.scores, found.labels, self.nms))


def original_sizes(batch: Batch) -> Int[Tensor, "batch 2"]:
    """Returns the height and width of each image before preprocessing, or as it is where they are unknown."""
    shown = tuple(batch.images.shape[-2:])
    sizes = [shown if geometry is None else geometry.original_size for geometry in batch.geometries]
    return torch.tensor(sizes, device=batch.images.device)
