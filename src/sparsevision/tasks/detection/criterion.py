"""The losses of a detector's heads (DETR's set prediction, with Deformable DETR's focal loss)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torchvision.ops import box_area, box_convert, generalized_box_iou_loss, sigmoid_focal_loss

from sparsevision.errors import ConfigError
from sparsevision.outputs import DetectionHead, DetectionOutput, at_least_single
from sparsevision.tasks.detection.matching import (
    ALPHA,
    EPS,
    GAMMA,
    HungarianMatcher,
    Matches,
    SetWeights,
    assigned_matches,
    shared_areas,
)

Target = dict[str, Tensor]
# Weight of the background in the cross entropy of a softmax head (DETR): most queries find nothing.
BACKGROUND_WEIGHT = 0.1
# Weight of wrong classes in the varifocal loss.
VARIFOCAL_ALPHA = 0.75
ClassTarget = Literal["one", "iou"]


class SetCriterion:
    """Matches every head with the objects and sums the weighted losses by kind: "classes", "l1" and "giou".

    `class_target` is what a matched row's class score is to be: 1 ("one", the focal loss), or the overlap of its box
    with the object's ("iou", the varifocal loss of arXiv 2008.13367), so that scores tell how good boxes are.
    """

    def __init__(self, weights: SetWeights | None = None, class_target: ClassTarget = "one") -> None:
        self.weights, self.class_target = weights or SetWeights(), class_target
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
                terms[name] = terms.get(name, 0.0) + head.weight * loss
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
        matches = self.matcher(head, labels, boxes) if head.objects is None else assigned_matches(head.objects, labels)
        wanted = torch.cat(labels)[matches.objects]
        found = at_least_single(head.boxes[matches.images, matches.queries])
        true = torch.cat(boxes)[matches.objects].to(found.dtype)
        corners = [box_convert(some, "cxcywh", "xyxy") for some in (found, true)]
        return {
            "classes": self._of_classes(head, matches, wanted, corners, objects, images),
            "l1": F.l1_loss(found, true, reduction="sum") / objects.clamp(min=1),
            "giou": generalized_box_iou_loss(*corners, reduction="sum") / objects.clamp(min=1),
        }

    def _of_classes(
        self, head: DetectionHead, matches: Matches, labels: Tensor, corners: Sequence[Tensor], objects: Tensor,
        images: Tensor,
    ) -> Tensor:  # fmt: skip
        """Returns the loss of the classes, whose matched rows have `labels` and the boxes `corners`, found and true."""
        if head.scores == "softmax":
            if self.class_target != "one":
                raise ConfigError(
                    f"loss.class_target={self.class_target!r} is for class scores that are independent (sigmoid), and "
                    "this model's are a softmax: omit it."
                )
            return _cross_entropy(head, matches, labels, objects, images)
        logits = at_least_single(head.logits)
        wanted = torch.zeros_like(logits)
        quality = 1.0 if self.class_target == "one" else _overlaps(*corners).detach().to(wanted.dtype)
        wanted[matches.images, matches.queries, labels] = quality
        loss = (_focal_loss if self.class_target == "one" else _varifocal_loss)(logits, wanted)
        if head.valid is not None:
            loss = loss.masked_fill(~head.valid.unsqueeze(-1), 0)
        return loss.sum() / objects.clamp(min=1)


def _overlaps(found: Tensor, true: Tensor) -> Tensor:
    """Returns the overlap of each found box with its own object, corners given."""
    shared = shared_areas(found, true)
    return shared / (box_area(found) + box_area(true) - shared).clamp(min=EPS)


def _focal_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Returns the focal loss of each row and class."""
    return sigmoid_focal_loss(logits, wanted, alpha=ALPHA, gamma=GAMMA)


def _varifocal_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Returns the varifocal loss of each row and class: what is wanted weighs the right ones, the score the others."""
    weight = torch.where(wanted > 0, wanted, VARIFOCAL_ALPHA * logits.detach().sigmoid() ** GAMMA)
    return weight * F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")


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
