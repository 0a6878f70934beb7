"""Regions of interest: corner boxes as fractions of the image, their adjustment by tokens and their initial grid.

A RoI is (x1, y1, x2, y2), a tube of a clip (x1, y1, t1, x2, y2, t2) with times as fractions of the clip. Nothing is
clamped: RoIs may leave the image, and training may invert those of the table.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

RoIInit = Literal["half", "cell", "whole", "anywhere"]


def adjust_rois(
    rois: Float[Tensor, "*batch corners"], delta: Float[Tensor, "*batch corners"]
) -> Float[Tensor, "*batch corners"]:
    """Moves RoIs by deltas (tx, ty, tw, th) relative to their own size, as detectors do (Eqs. 7 and 8).

    Those of tubes are (tx, ty, tt, tw, th, tl).
    """
    first, second = rois.chunk(2, dim=-1)
    shift, log_scale = delta.chunk(2, dim=-1)
    size = (second - first).abs()
    center = (first + second) / 2 + shift * size
    half = size * log_scale.exp() / 2
    return torch.cat([center - half, center + half], dim=-1)


def centred(rois: Float[Tensor, "*batch corners"]) -> Float[Tensor, "*batch corners"]:
    """Returns the centres and sides of RoIs: (x, y, width, height)."""
    first, second = rois.chunk(2, dim=-1)
    return torch.cat([(first + second) / 2, second - first], dim=-1)


def first_rois(num_tokens: int, init: RoIInit = "half") -> Float[Tensor, "tokens 4"]:
    """Makes the first RoIs of tokens (A.3, Table 9, and A.1).

    "half": half the image wide and high, evenly spread and inside it; "cell": tiling the image; "whole": all of it.
    Tokens beyond the largest square number start with the whole image. The x axis is the slow one. "anywhere": half the
    image wide and high, the centres drawn from all of it.
    """
    if init == "anywhere":
        centres = torch.rand(num_tokens, 2)
        return torch.cat([centres - 0.25, centres + 0.25], dim=1)
    side = math.isqrt(num_tokens)
    rois = torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(num_tokens, 1)
    if init == "whole":
        return rois
    size = 0.5 if init == "half" else 1 / side
    starts = torch.linspace(0, 1 - size, side) if side > 1 else torch.tensor([(1 - size) / 2])
    corners = torch.cartesian_prod(starts, starts)
    rois[: side * side] = torch.cat([corners, corners + size], dim=-1)
    return rois


def with_times(rois: Float[Tensor, "tokens 4"], copies: int) -> Float[Tensor, "tubes 6"]:
    """Makes tubes of RoIs: copies of them all, one after the other, whose times tile the clip."""
    times = torch.linspace(0, 1, copies + 1).repeat_interleave(len(rois)).unflatten(0, (copies + 1, -1)).unsqueeze(-1)
    first, second = rois.expand(copies, -1, -1).chunk(2, dim=-1)
    return torch.cat([first, times[:-1], second, times[1:]], dim=-1).flatten(0, 1)


def grid_offsets(num_points: int) -> Float[Tensor, "square 2"]:
    """Makes the cell centres of a square grid on [-0.5, 0.5]², x fast, for the largest square in `num_points`."""
    side = math.isqrt(num_points)
    centers = (torch.arange(side) + 0.5) / side - 0.5
    y, x = torch.meshgrid(centers, centers, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


@torch.no_grad()
def encode_rois(rois: Float[Tensor, "*batch corners"], width: int) -> Float[Tensor, "*batch width"]:
    """Encodes the corners of RoIs by sines and cosines of `width / 4` frequencies from pi to 128 pi.

    Used by the bootstrapped models (arXiv 2312.01987); no gradient flows to the RoIs. The released code encodes tubes
    as zeros.
    """
    if rois.shape[-1] != 4:
        return rois.new_zeros(*rois.shape[:-1], width)
    frequencies = width // 4
    steps = torch.arange(frequencies, device=rois.device, dtype=rois.dtype)
    angles = rois.unsqueeze(-1) * (math.pi * torch.exp(steps * (math.log(128) / (frequencies - 1))))
    return torch.cat([angles[..., 0::2].sin(), angles[..., 1::2].cos()], dim=-1).flatten(-2)
