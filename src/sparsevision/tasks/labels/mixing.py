"""Mixed batches of labelled images or clips."""

from __future__ import annotations

from collections.abc import Callable

from sparsevision.tasks.labels.settings import MixSettings
from sparsevision.types import Batch, Sample


class MixedCollate:
    """A task's `collate`, then torchvision's CutMix or MixUp; targets of mixed batches are shares (B, K) that sum to 1.

    Label smoothing is left to the loss, which commutes with mixing. Randomness comes from the global generators, which
    the loader seeds from (seed, epoch, batch, rank).
    """

    def __init__(self, collate: Callable[[list[Sample]], Batch], settings: MixSettings, classes: int) -> None:
        from torchvision.transforms import v2

        self.collate = collate
        cutmix, mixup = settings.cutmix, settings.mixup
        switch = settings.mix_switch if cutmix > 0 and mixup > 0 else float(cutmix > 0)
        kinds = [
            (v2.CutMix(alpha=cutmix, num_classes=classes), switch) if cutmix > 0 else None,
            (v2.MixUp(alpha=mixup, num_classes=classes), 1 - switch) if mixup > 0 else None,
        ]
        transforms, shares = zip(*[kind for kind in kinds if kind is not None], strict=True)
        self.mix = v2.RandomApply([v2.RandomChoice(list(transforms), p=list(shares))], p=settings.mix_probability)

    def __call__(self, samples: list[Sample]) -> Batch:
        """Puts samples together and mixes them."""
        batch = self.collate(samples)
        if len(batch):
            # Frames of a clip are mixed alike, as its channels are.
            shape = batch.images.shape[1:-2]
            images, batch.targets = self.mix(batch.images.flatten(1, -3), batch.targets)
            batch.images = images.unflatten(1, shape)
        return batch
