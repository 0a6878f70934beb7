"""Images of one batch in one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevision.types import Batch, Sample


def batch_of(samples: Sequence[Sample], targets: Any) -> Batch:
    """Returns samples as a batch, images of different sizes padded with zeros at the right and at the bottom."""
    images, sizes = stacked([sample.image for sample in samples])
    return Batch(
        images=images, sizes=sizes, targets=targets, names=[sample.name for sample in samples],
        indices=[sample.index for sample in samples], geometries=[sample.geometry for sample in samples],
    )  # fmt: skip


def stacked(images: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Returns (B, C, H, W), and the valid sizes (B, 2) where not all images are as large as the batch."""
    if not images:
        return torch.zeros(0, 3, 1, 1), None
    if len({image.shape for image in images}) == 1:
        return torch.stack(list(images)), None
    sizes = torch.tensor([image.shape[-2:] for image in images])
    height, width = sizes.amax(0).tolist()
    padded = [F.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2])) for image in images]
    return torch.stack(padded), sizes
