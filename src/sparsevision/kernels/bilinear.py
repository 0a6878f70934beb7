"""Bilinear sampling of a channels-last map on a CPU, with gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevision.kernels.dispatch import fast_on_cpu, sizes_like


def in_channels_last(features: Tensor, *_: Any, **__: Any) -> bool:
    """Returns whether `gather_corners` may run: on a CPU, with every pixel's channels side by side."""
    return fast_on_cpu(features) and features.is_contiguous(memory_format=torch.channels_last)


def gather_corners(features: Tensor, points: Tensor, padding: str = "zeros") -> Tensor:
    """Reads points as one weighted sum over the four corner rows of a channels-last map.

    `features` (B, C, H, W); `points` (B, N, P, 2) as fractions of the map; returns (B, N, P, C).
    """
    batch, channels, height, width = features.shape
    rows, shares = corner_shares(inner_position(points, width, height, padding), width, height)
    first_row = torch.arange(batch, device=points.device).view(batch, 1, 1, 1) * (height * width)
    table = features.permute(0, 2, 3, 1).reshape(-1, channels)
    sampled = F.embedding_bag(
        (rows + first_row).flatten(0, 2), table, mode="sum",
        per_sample_weights=shares.flatten(0, 2).to(table.dtype),
    )  # fmt: skip
    return sampled.view(*points.shape[:3], channels)


def inner_position(points: Tensor, width: int, height: int, padding: str) -> Tensor:
    """Turns fractions (*, 2) of a map into pixels from the centre of the first one, within the map with "border"."""
    position = points * sizes_like(points, (width, height)) - 0.5
    if padding == "border":
        position = torch.minimum(position.clamp(min=0), sizes_like(position, (width - 1, height - 1)))
    return position


def corner_shares(position: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Finds the four pixels around each position (*, 2), which counts pixels from the centre of the first one.

    Returns the pixels' rows (*, 4) in a map that lies row by row, and their shares (*, 4) of bilinear interpolation,
    which are nothing outside of the map. Gradients flow through the shares.
    """
    corner = position.detach().floor()
    after = position - corner
    before = 1 - after
    shares = torch.stack(
        [before[..., 0] * before[..., 1], after[..., 0] * before[..., 1],
         before[..., 0] * after[..., 1], after[..., 0] * after[..., 1]], dim=-1,
    )  # fmt: skip
    # A far point stays representable as an integer; it reads nothing either way.
    corner = torch.minimum(corner.clamp(min=-2), sizes_like(corner, (width, height))).long()
    x = corner[..., :1] + corner.new_tensor([0, 1, 0, 1])
    y = corner[..., 1:] + corner.new_tensor([0, 0, 1, 1])
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return y.clamp(0, height - 1) * width + x.clamp(0, width - 1), shares * inside
