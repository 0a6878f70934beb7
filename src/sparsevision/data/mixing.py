"""Mixup and CutMix: two pictures of a batch in one, and targets that say how much of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevision.errors import ConfigError
from sparsevision.types import Batch, Sample


@dataclass(frozen=True)
class Mixing:
    """Mixes every picture of a batch with the one at the mirrored place; one draw for the whole batch, as in timm.

    With `probability` a batch is mixed: by CutMix with probability `switch` where both are on, else by mixup. The share
    of the first picture is drawn from Beta(a, a), a = `mixup` or `cutmix`; 0 switches that kind off. Targets become
    shares of the classes (B, num_classes) that sum to 1, in unmixed batches too; label smoothing is left to the loss,
    which commutes with mixing. Randomness comes from numpy's global generator, which the loader seeds from (seed,
    epoch, batch, rank) around `collate`. Sources: Zhang et al., arXiv 1710.09412; Yun et al., arXiv 1905.04899.
    """

    num_classes: int
    mixup: float = 0.8
    cutmix: float = 1.0
    probability: float = 1.0
    switch: float = 0.5

    def __post_init__(self) -> None:
        if self.mixup < 0 or self.cutmix < 0 or not 0 <= self.probability <= 1 or not 0 <= self.switch <= 1:
            raise ConfigError(
                f"Mixing needs mixup and cutmix from 0 and probabilities from 0 to 1; it got {self.mixup}, "
                f"{self.cutmix}, {self.probability}, {self.switch}."
            )

    def after(self, collate: Callable[[list[Sample]], Batch]) -> MixedCollate:
        """Returns a `collate` that mixes what another one put together."""
        return MixedCollate(collate, self)

    def __call__(self, batch: Batch) -> Batch:
        """Returns the mixed batch; `images` (B, C, H, W) must be of one size."""
        targets = self._soft(batch.targets)
        kind = self._kind()
        if kind is None or not len(batch):
            return replace(batch, targets=targets)
        alpha = self.mixup if kind == "mixup" else self.cutmix
        share = float(np.random.beta(alpha, alpha))
        if kind == "mixup":
            images = torch.lerp(batch.images.flip(0), batch.images, share)
        else:
            images, share = _cut(batch.images, share)
        return replace(batch, images=images, targets=torch.lerp(targets.flip(0), targets, share))

    def _kind(self) -> str | None:
        if np.random.random() >= self.probability or (self.mixup == 0 and self.cutmix == 0):
            return None
        if self.mixup > 0 and self.cutmix > 0:
            return "cutmix" if np.random.random() < self.switch else "mixup"
        return "mixup" if self.mixup > 0 else "cutmix"

    def _soft(self, targets: Tensor) -> Tensor:
        if targets.ndim == 2:
            return targets.float()
        return F.one_hot(targets.long(), self.num_classes).float()


@dataclass(frozen=True)
class MixedCollate:
    """A task's `collate`, then mixing; survives being sent to another process."""

    collate: Callable[[list[Sample]], Batch]
    mixing: Mixing

    def __call__(self, samples: list[Sample]) -> Batch:
        """Puts samples together and mixes them."""
        return self.mixing(self.collate(samples))


def _cut(images: Tensor, share: float) -> tuple[Tensor, float]:
    """Pastes a rectangle of 1 - share of the area from the mirrored picture; returns the share that the border left."""
    height, width = images.shape[-2:]
    part = (1 - share) ** 0.5
    cut_height, cut_width = int(height * part), int(width * part)
    middle_y, middle_x = int(np.random.randint(height)), int(np.random.randint(width))
    top, bottom = max(middle_y - cut_height // 2, 0), min(middle_y + (cut_height + 1) // 2, height)
    left, right = max(middle_x - cut_width // 2, 0), min(middle_x + (cut_width + 1) // 2, width)
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images.flip(0)[..., top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)
