"""Multi-scale deformable attention: each query reads a few points of every level of a feature pyramid.

Plain PyTorch on every device; nothing has to be compiled. Equations and constants: Deformable DETR (arXiv 2010.04159),
Section 4.1, as Sparse DETR (arXiv 2111.14330) uses it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sparsevision.kernels.deformable_cpu import rows_can_be_sampled, sample_rows
from sparsevision.kernels.dispatch import accelerated, sizes_like
from sparsevision.models.precision import like_weights

Shapes = Sequence[tuple[int, int]]


class SamplingLocations(NamedTuple):
    """Sampling points of queries: `locations` (x, y) as fractions of each padded level's map, and `weights`."""

    locations: Float[Tensor, "batch queries heads levels points 2"]
    weights: Float[Tensor, "batch queries heads levels points"]


def sample_levels(
    values: Float[Tensor, "batch tokens heads channels"], shapes: Shapes,
    locations: Float[Tensor, "batch queries heads levels points 2"],
    weights: Float[Tensor, "batch queries heads levels points"],
) -> Float[Tensor, "batch queries width"]:  # fmt: skip
    """Sums, over levels and points, weight times what bilinear interpolation reads in a level's map.

    `values` holds the levels' tokens one level after another, each row by row; `shapes` their heights and widths.
    Centres of pixels lie at half-integers, and outside of a map there is zero.
    """
    if values.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        # Autocast gives `grid_sample` full precision; the fast form gets the same.
        values, locations, weights = values.float(), locations.float(), weights.float()
    elif values.dtype != locations.dtype:
        # Weights in half precision: coordinates are not, and all must be alike.
        values, weights = values.to(locations.dtype), weights.to(locations.dtype)
    return _sample_maps(values, shapes, locations, weights)


@accelerated(sample_rows, when=rows_can_be_sampled)
def _sample_maps(values: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """One `grid_sample` a level, with the heads as part of the batch."""
    batch, _, heads, channels = values.shape
    queries = locations.shape[1]
    grids = (2 * locations - 1).transpose(1, 2).flatten(0, 1)
    sampled = []
    for level, (tokens, (height, width)) in enumerate(
        zip(values.split([height * width for height, width in shapes], dim=1), shapes, strict=True)
    ):
        maps = tokens.permute(0, 2, 3, 1).reshape(batch * heads, channels, height, width)
        sampled.append(F.grid_sample(maps, grids[:, :, level], padding_mode="zeros", align_corners=False))
    weighted = torch.stack(sampled, dim=-2) * weights.transpose(1, 2).flatten(0, 1).unsqueeze(1)
    return weighted.sum(dim=(-2, -1)).view(batch, heads * channels, queries).transpose(1, 2)


class DeformableAttention(nn.Module):
    """Attention whose queries predict, from themselves alone, sampling points and their weights (Eq. 3 there).

    References are points (x, y) or boxes (centre x, centre y, width, height) for every level, as fractions of the
    level's padded map; offsets count pixels of the level, or, around a box, halves of its sides over the points.
    """

    def __init__(self, width: int, *, num_levels: int, num_heads: int, num_points: int) -> None:
        super().__init__()
        self.num_levels, self.num_heads, self.num_points = num_levels, num_heads, num_points
        looks = num_heads * num_levels * num_points
        self.offsets = nn.Linear(width, 2 * looks)
        self.weights = nn.Linear(width, looks)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.init_weights()

    def init_weights(self) -> None:
        """Lets every head look in a direction of its own, its points one pixel after another, all with equal weight."""
        if self.offsets.weight.is_meta:
            return
        for linear in (self.offsets, self.weights):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        for linear in (self.value, self.output):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        angles = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        direction = torch.stack([angles.cos(), angles.sin()], dim=-1)
        direction = direction / direction.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.num_points + 1).view(-1, 1)
        bias = (direction[:, None, None] * steps).expand(-1, self.num_levels, -1, -1)
        with torch.no_grad():
            self.offsets.bias.copy_(bias.flatten())

    def forward(
        self, queries: Float[Tensor, "batch queries width"],
        references: Float[Tensor, "batch queries levels coordinates"], source: Float[Tensor, "batch tokens width"],
        shapes: Shapes, padding: Bool[Tensor, "batch tokens"] | None = None,
    ) -> tuple[Float[Tensor, "batch queries width"], SamplingLocations]:  # fmt: skip
        """Returns the features read in `source`, and the sampling locations; tokens under `padding` read as zero."""
        values = self.value(source)
        if padding is not None:
            values = values.masked_fill(padding.unsqueeze(-1), 0)
        looks = self._look(queries, references, shapes)
        read = sample_levels(values.unflatten(-1, (self.num_heads, -1)), shapes, *looks)
        return self.output(like_weights(read, queries)), looks

    def _look(self, queries: Tensor, references: Tensor, shapes: Shapes) -> SamplingLocations:
        grid = (self.num_levels, self.num_points)
        offsets = self.offsets(queries).unflatten(-1, (self.num_heads, -1))
        weights = self.weights(queries).unflatten(-1, (self.num_heads, -1)).softmax(dim=-1).unflatten(-1, grid)
        centres = references[..., :2]
        if references.shape[-1] == 4:
            reach = references[..., 2:] * (0.5 / self.num_points)
        else:
            reach = 1 / sizes_like(references, [size for height, width in shapes for size in (width, height)])
            reach = reach.view(-1, 2)
        # Laid out for every point, a row of numbers at a time is multiplied and not one of two: six times as fast.
        centres, reach = (each.unsqueeze(-2).expand(*each.shape[:-1], grid[1], 2) for each in (centres, reach))
        locations = centres.flatten(2).unsqueeze(2) + offsets * reach.flatten(-3).unsqueeze(-2)
        return SamplingLocations(locations.unflatten(-1, (*grid, 2)), weights)
