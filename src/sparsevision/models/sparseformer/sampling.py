"""Sparse feature sampling: from a token's offsets to points in the image, and the features read there (Section 3.1)."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sparsevision.kernels.bilinear import gather_corners, in_channels_last
from sparsevision.kernels.dispatch import accelerated

Padding = Literal["zeros", "border"]


def decode_points(
    rois: Float[Tensor, "batch tokens corners"], offsets: Float[Tensor, "batch tokens points axes"], *, eps: float,
    scale: float = 1.0,
) -> Float[Tensor, "batch tokens points axes"]:  # fmt: skip
    """Turns offsets into points (x, y), or (x, y, t) of clips, in fractions of the image (Eq. 3).

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


@accelerated(gather_corners, when=in_channels_last)
def sample_points(
    features: Float[Tensor, "batch channels height width"],
    points: Float[Tensor, "batch tokens points 2"],
    padding: Padding = "zeros",
) -> Float[Tensor, "batch tokens points channels"]:
    """Reads features bilinearly at points in fractions of the map (0 and 1 are the outer pixel edges)."""
    sampled = F.grid_sample(features, points * 2 - 1, mode="bilinear", padding_mode=padding, align_corners=False)
    return sampled.permute(0, 2, 3, 1)
