"""Trilinear sampling of the channels-last maps of frames on a CPU, with gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevision.kernels.bilinear import corner_shares, in_channels_last, inner_position


def frames_in_channels_last(maps: Tensor, *_: Any, **__: Any) -> bool:
    """Returns whether `gather_frame_corners` may run: on a CPU, with every pixel's channels side by side."""
    return in_channels_last(maps)


def frames_around(times: Tensor, frames: int, padding: str = "zeros") -> tuple[Tensor, Tensor]:
    """Finds the two frames around each time (*), a fraction of the clip.

    Returns their numbers (*, 2) and their shares (*, 2) of linear interpolation, which are nothing outside of the clip.
    Gradients flow through the shares.
    """
    position = times * frames - 0.5
    if padding == "border":
        position = position.clamp(0, frames - 1)
    first = position.detach().floor()
    after = position - first
    both = first.clamp(-2, frames).long().unsqueeze(-1) + torch.arange(2, device=times.device)
    inside = (both >= 0) & (both < frames)
    return both.clamp(0, frames - 1), torch.stack([1 - after, after], dim=-1) * inside


def gather_frame_corners(maps: Tensor, places: Tensor, points: Tensor, padding: str = "zeros") -> Tensor:
    """Reads points as one weighted sum over eight rows: the four corner pixels in the two frames around each.

    `maps` (S, C, H, W); `places` (B, T) says which map each frame has; `points` (B, N, P, 3) are (x, y, t) as fractions
    of the clip; returns (B, N, P, C).
    """
    _, channels, height, width = maps.shape
    pixels, pixel_shares = corner_shares(inner_position(points[..., :2], width, height, padding), width, height)
    frames, frame_shares = frames_around(points[..., 2], places.shape[1], padding)
    found = places.clamp(min=0).gather(1, frames.flatten(1)).view_as(frames)
    rows = found.unsqueeze(-1) * (height * width) + pixels.unsqueeze(-2)
    shares = frame_shares.unsqueeze(-1) * pixel_shares.unsqueeze(-2)
    table = maps.permute(0, 2, 3, 1).reshape(-1, channels)
    rows, shares = (each.flatten(0, 2).flatten(1) for each in (rows, shares))
    sampled = F.embedding_bag(rows, table, mode="sum", per_sample_weights=shares.to(table.dtype))
    return sampled.view(*points.shape[:3], channels)
