"""The losses of a segmenter: cross entropy over pixels, Dice over classes."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sparsevision.data.masks import IGNORED
from sparsevision.outputs import SegmentationHead
from sparsevision.tasks.segmentation.transforms import SegmentationLoss


def enlarged(head: SegmentationHead, size: tuple[int, int]) -> Float[Tensor, "batch classes height width"]:
    """Returns a head's logits at the pixels of images of a size (height, width), bilinearly."""
    logits = F.interpolate(head.logits, scale_factor=head.stride, mode="bilinear", align_corners=False)
    return logits[..., : size[0], : size[1]]


class PixelCriterion:
    """The weighted losses of a head on a batch; sums are divided by the numbers of a whole step."""

    def __init__(self, settings: SegmentationLoss) -> None:
        self.settings = settings

    def __call__(
        self, head: SegmentationHead, masks: Int[Tensor, "batch height width"], pixels: Tensor, images: Tensor
    ) -> dict[str, Tensor]:
        """Returns the losses by kind; `pixels` and `images` are those of the step that count."""
        settings = self.settings
        logits = enlarged(head, (masks.shape[1], masks.shape[2])).float()
        terms = {}
        if settings.cross_entropy:
            terms["cross_entropy"] = settings.cross_entropy * self._cross_entropy(logits, masks, pixels)
        if settings.dice:
            terms["dice"] = settings.dice * dice_loss(logits, masks).sum() / images.clamp(min=1)
        return terms

    def _cross_entropy(self, logits: Tensor, masks: Tensor, pixels: Tensor) -> Tensor:
        weights = self.settings.class_weights
        weight = None if weights is None else logits.new_tensor(weights)
        losses = F.cross_entropy(logits, masks, weight=weight, ignore_index=IGNORED, reduction="none")
        if self.settings.hardest == 1:
            return losses.sum() / pixels.clamp(min=1)
        counted = losses[masks != IGNORED]
        kept = max(int(self.settings.hardest * len(counted)), 1) if len(counted) else 0
        return counted.topk(kept).values.sum() / (self.settings.hardest * pixels).clamp(min=1)


def dice_loss(
    logits: Float[Tensor, "batch classes height width"], masks: Int[Tensor, "batch height width"]
) -> Float[Tensor, " batch"]:
    """Returns one minus the Dice coefficient, a mean over the classes that an image shows."""
    counted = (masks != IGNORED).unsqueeze(1)
    shown = F.one_hot(masks.where(masks != IGNORED, 0), logits.shape[1]).permute(0, 3, 1, 2) * counted
    found = logits.softmax(dim=1) * counted
    both, total = (found * shown).sum((2, 3)), found.sum((2, 3)) + shown.sum((2, 3))
    there = shown.sum((2, 3)) > 0
    losses = 1 - 2 * both / total.clamp(min=1e-6)
    return (losses * there).sum(1) / there.sum(1).clamp(min=1)
