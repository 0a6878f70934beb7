"""Sparse feature sampling: from a token's offsets to points in the picture, and what is read there (Section 3.1)."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sparsevision.layers.paths import fast

Padding = Literal["zeros", "border"]


def decode_points(
    rois: Float[Tensor, "batch tokens 4"],
    offsets: Float[Tensor, "batch tokens points 2"],
    *,
    eps: float,
    scale: float = 1.0,
) -> Float[Tensor, "batch tokens points 2"]:
    """Turns offsets into points (x, y) in fractions of the picture (Eq. 3).

    Offsets are normalised over a token's points, three standard deviations to the unit, then laid over the RoI's
    centre and signed size. `scale` 1 is the released code; 0.5 is the paper's factor, which the code does not have.
    """
    # torch.std has the derivative 0 where all offsets agree; a root of the variance would give NaN there.
    deviation = offsets.std(dim=-2, keepdim=True)
    normalised = (offsets - offsets.mean(dim=-2, keepdim=True)) / (3 * (deviation + eps))
    first, second = rois.unsqueeze(-2).chunk(2, dim=-1)
    return (first + second) / 2 + normalised * (scale * (second - first))


class _ClampGradient(torch.autograd.Function):
    """The identity, whose gradient is clamped elementwise."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, bound: float) -> Tensor:
        ctx.bound = bound
        return points.view_as(points)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.clamp(-ctx.bound, ctx.bound), None


def clamp_gradient(points: Float[Tensor, "*shape"], bound: float) -> Float[Tensor, "*shape"]:
    """Returns the points unchanged; the gradient that comes back to them is clamped to ±bound.

    Bilinear interpolation of a few points gives noisy gradients; the released ImageNet code bounds them so.
    """
    return _ClampGradient.apply(points, bound) if torch.is_grad_enabled() else points


def sample_points(
    features: Float[Tensor, "batch channels height width"],
    points: Float[Tensor, "batch tokens points 2"],
    padding: Padding = "zeros",
) -> Float[Tensor, "batch tokens points channels"]:
    """Reads features bilinearly at points in fractions of the map (0 and 1 are the outer pixel edges)."""
    if fast() and features.is_contiguous(memory_format=torch.channels_last) and features.device.type == "cpu":
        return _gather_corners(features, points, padding)
    sampled = F.grid_sample(features, points * 2 - 1, mode="bilinear", padding_mode=padding, align_corners=False)
    return sampled.permute(0, 2, 3, 1)


def _gather_corners(features: Tensor, points: Tensor, padding: Padding) -> Tensor:
    """The fast form on a CPU: one weighted sum over the four corner rows of a channels-last map."""
    batch, channels, height, width = features.shape
    extent = points.new_tensor([width, height])
    position = points * extent - 0.5
    if padding == "border":
        position = torch.minimum(position.clamp(min=0), extent - 1)
    corner = position.detach().floor()
    after = position - corner
    before = 1 - after
    weights = torch.stack(
        [before[..., 0] * before[..., 1], after[..., 0] * before[..., 1],
         before[..., 0] * after[..., 1], after[..., 0] * after[..., 1]], dim=-1,
    )  # fmt: skip
    # A far point stays representable as an integer; it reads nothing either way.
    corner = torch.minimum(corner.clamp(min=-2), extent).long()
    x = corner[..., :1] + corner.new_tensor([0, 1, 0, 1])
    y = corner[..., 1:] + corner.new_tensor([0, 0, 1, 1])
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    rows = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    first_row = torch.arange(batch, device=points.device).view(batch, 1, 1, 1) * (height * width)
    table = features.permute(0, 2, 3, 1).reshape(-1, channels)
    sampled = F.embedding_bag(
        (rows + first_row).flatten(0, 2), table, mode="sum",
        per_sample_weights=(weights * inside).flatten(0, 2).to(table.dtype),
    )  # fmt: skip
    return sampled.view(*points.shape[:3], channels)
