"""The losses of a detector's heads (DETR's set prediction, with Deformable DETR's focal loss)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou_loss, sigmoid_focal_loss

from sparsevision.outputs import DetectionHead, DetectionOutput, at_least_single
from sparsevision.tasks.detection.matching import ALPHA, GAMMA, HungarianMatcher, Matches, SetWeights

Target = dict[str, Tensor]
# Weight of the background in the cross entropy of a softmax head (DETR): most queries find nothing.
BACKGROUND_WEIGHT = 0.1


class SetCriterion:
    """Matches every head with the objects and sums the weighted losses by kind: "classes", "l1" and "giou"."""

    def __init__(self, weights: SetWeights | None = None) -> None:
        self.weights = weights or SetWeights()
        self.matcher = HungarianMatcher(self.weights)

    def __call__(
        self, output: DetectionOutput, targets: Sequence[Target], objects: Tensor, images: Tensor
    ) -> dict[str, Float[Tensor, ""]]:
        """Returns the losses of all heads.

        A target holds "labels" (T,) and "boxes" (T, 4), (cx, cy, w, h) as fractions of the valid image. Means are over
        `objects` and `images`, the numbers of a whole step, of which the batch may be a part.
        """
        terms: dict[str, Tensor] = {}
        for head in output.heads:
            for name, loss in self.weighted(self.of_head(head, targets, objects, images)).items():
                terms[name] = terms[name] + loss if name in terms else loss
        return terms

    def weighted(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the losses of a head as they enter the sum."""
        return {name: loss * getattr(self.weights, name) for name, loss in losses.items()}

    def of_head(
        self, head: DetectionHead, targets: Sequence[Target], objects: Tensor, images: Tensor
    ) -> dict[str, Float[Tensor, ""]]:
        """Returns the three losses of one head before weighting."""
        labels, boxes = [target["labels"] for target in targets], [target["boxes"] for target in targets]
        if head.labels == "foreground":
            labels = [torch.zeros_like(each) for each in labels]
        matches = self.matcher(head, labels, boxes)
        wanted = torch.cat(labels)[matches.objects]
        if head.scores == "softmax":
            classes = _cross_entropy(head, matches, wanted, objects, images)
        else:
            classes = _focal_loss(head, matches, wanted) / objects.clamp(min=1)
        found = at_least_single(head.boxes[matches.images, matches.queries])
        true = torch.cat(boxes)[matches.objects].to(found.dtype)
        corners = [box_convert(some, "cxcywh", "xyxy") for some in (found, true)]
        return {
            "classes": classes,
            "l1": F.l1_loss(found, true, reduction="sum") / objects.clamp(min=1),
            "giou": generalized_box_iou_loss(*corners, reduction="sum") / objects.clamp(min=1),
        }


def _focal_loss(head: DetectionHead, matches: Matches, labels: Tensor) -> Tensor:
    """Returns the focal loss of independent classes, summed over rows and classes."""
    logits = at_least_single(head.logits)
    wanted = torch.zeros_like(logits)
    wanted[matches.images, matches.queries, labels] = 1
    focal = sigmoid_focal_loss(logits, wanted, alpha=ALPHA, gamma=GAMMA)
    if head.valid is not None:
        focal = focal.masked_fill(~head.valid.unsqueeze(-1), 0)
    return focal.sum()


def _cross_entropy(head: DetectionHead, matches: Matches, labels: Tensor, objects: Tensor, images: Tensor) -> Tensor:
    """Returns the weighted mean of the cross entropy over the rows of a step; those without an object are background.

    The sum of the weights follows from the numbers of the whole step, so that the mean is the same in parts.
    """
    logits = at_least_single(head.logits)
    background = logits.shape[-1] - 1
    wanted = torch.full(logits.shape[:2], background, device=logits.device)
    wanted[matches.images, matches.queries] = labels
    counting = logits.new_ones(logits.shape[:2]) if head.valid is None else head.valid.to(logits)
    if head.valid is not None:
        wanted = wanted.masked_fill(~head.valid, -100)  # ignored
    weight = logits.new_ones(background + 1)
    weight[background] = BACKGROUND_WEIGHT
    total = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), weight, reduction="sum")
    rows = counting.sum(dim=1).mean() * images
    return total / (objects + BACKGROUND_WEIGHT * (rows - objects)).clamp(min=BACKGROUND_WEIGHT)
