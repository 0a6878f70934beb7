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

from sparsevision.layers.opaque import opaque
from sparsevision.layers.paths import fast_cpu_inference

Shapes = Sequence[tuple[int, int]]

# Queries that are sampled at a time on a CPU: what lies between sampling and summing then stays in cache.
CHUNK = 256


class Looks(NamedTuple):
    """Where queries looked: `locations` (x, y) as fractions of each padded level's map, and the `weights` of points."""

    locations: Float[Tensor, "batch queries heads levels points 2"]
    weights: Float[Tensor, "batch queries heads levels points"]


def sample_levels(
    values: Float[Tensor, "batch tokens heads channels"],
    shapes: Shapes,
    locations: Float[Tensor, "batch queries heads levels points 2"],
    weights: Float[Tensor, "batch queries heads levels points"],
) -> Float[Tensor, "batch queries width"]:
    """Sums, over levels and points, weight times what bilinear interpolation reads in a level's map.

    `values` holds the levels' tokens one level after another, each row by row; `shapes` their heights and widths.
    Centres of pixels lie at half-integers, and outside of a map there is zero.
    """
    if fast_cpu_inference(values.device) and values.dtype is torch.float32:
        return sample_corner_rows(values, locations, weights, [side for shape in shapes for side in shape])
    return _sample_maps(values, shapes, locations, weights)


def _sample_maps(values: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """The plain form: one `grid_sample` a level, with the heads as part of the batch."""
    batch, _, heads, channels = values.shape
    queries = locations.shape[1]
    grids = (2 * locations - 1).transpose(1, 2).flatten(0, 1)
    sampled = []
    for level, (tokens, (height, width)) in enumerate(
        zip(values.split([height * width for height, width in shapes], dim=1), shapes, strict=True)
    ):
        maps = tokens.permute(0, 2, 3, 1).reshape(batch * heads, channels, height, width)
        sampled.append(F.grid_sample(maps, grids[:, :, level], padding_mode="zeros", align_corners=False))
    weighted = torch.stack(sampled, dim=-2) * weights.transpose(1, 2).reshape(
        batch * heads, 1, queries, len(shapes), -1
    )
    return weighted.sum(dim=(-2, -1)).view(batch, heads * channels, queries).transpose(1, 2)


@opaque(
    "(Tensor values, Tensor locations, Tensor weights, int[] sides) -> Tensor",
    lambda values, locations, weights, sides: values.new_empty(*locations.shape[:2], values.shape[2] * values.shape[3]),
)
def sample_corner_rows(values: Tensor, locations: Tensor, weights: Tensor, sides: list[int]) -> Tensor:
    """The fast form on a CPU: a point is four weighted rows of a table, and a query of a head one bag of rows.

    `sides` are the levels' heights and widths, one after another. For inference.
    """
    batch, tokens, heads, channels = values.shape
    queries = locations.shape[1]
    table = values.reshape(batch * tokens * heads, channels)
    shapes = torch.tensor(sides, device=values.device).view(-1, 2)
    heights, widths = (side.view(-1, 1) for side in shapes.unbind(dim=1))
    firsts = F.pad((heights * widths).cumsum(dim=0), (0, 0, 1, 0))[:-1]
    extent = shapes.flip(-1).unsqueeze(1).to(locations.dtype)
    head = torch.arange(heads, device=values.device).view(-1, 1, 1)
    result = values.new_empty(batch, queries, heads * channels)
    for picture in range(batch):
        for start in range(0, queries, CHUNK):
            some = slice(start, start + CHUNK)
            position = locations[picture, some] * extent - 0.5
            corner = position.floor()
            after = position - corner
            # A far point stays representable as an integer; it reads nothing either way.
            column, row = torch.minimum(corner.clamp_(min=-2), extent).long().unbind(dim=-1)
            right, below = (after * weights[picture, some].unsqueeze(-1)).unbind(dim=-1)
            both = right * after[..., 1]
            weight = weights[picture, some]
            shares = (weight - right - below + both, right - both, below - both, both)
            rows, kept = [], []
            for share, (down, aside) in zip(shares, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
                y, x = row + down, column + aside
                inside = (y >= 0) & (y < heights) & (x >= 0) & (x < widths)
                rows.append(torch.where(inside, firsts + y * widths + x, 0))
                kept.append(share * inside)
            indices = (torch.stack(rows, dim=-1) + picture * tokens).mul_(heads).add_(head.unsqueeze(-1))
            bags = indices.flatten(2).flatten(0, 1)
            read = F.embedding_bag(
                bags, table, mode="sum", per_sample_weights=torch.stack(kept, dim=-1).view(bags.shape)
            )
            result[picture, some] = read.view(-1, heads * channels)
    return result


class DeformableAttention(nn.Module):
    """Attention whose queries predict, from themselves alone, where to look and with what weights (Eq. 3 there).

    References are points (x, y) or boxes (centre x, centre y, width, height) for every level, as fractions of the
    level's padded map; offsets count pixels of the level, or, around a box, halves of its sides over the points.
    """

    def __init__(self, width: int, num_levels: int, num_heads: int, num_points: int) -> None:
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
        self,
        queries: Float[Tensor, "batch queries width"],
        references: Float[Tensor, "batch queries levels coordinates"],
        source: Float[Tensor, "batch tokens width"],
        shapes: Shapes,
        padding: Bool[Tensor, "batch tokens"] | None = None,
    ) -> tuple[Float[Tensor, "batch queries width"], Looks]:
        """Returns what the queries read in `source`, and where they looked; tokens under `padding` read as zero."""
        values = self.value(source)
        if padding is not None:
            values = values.masked_fill(padding.unsqueeze(-1), 0)
        looks = self._look(queries, references, shapes)
        read = sample_levels(values.unflatten(-1, (self.num_heads, -1)), shapes, *looks)
        return self.output(read), looks

    def _look(self, queries: Tensor, references: Tensor, shapes: Shapes) -> Looks:
        grid = (self.num_heads, self.num_levels, self.num_points)
        offsets = self.offsets(queries).unflatten(-1, (*grid, 2))
        weights = self.weights(queries).unflatten(-1, (self.num_heads, -1)).softmax(dim=-1).unflatten(-1, grid[1:])
        references = references[:, :, None, :, None]
        if references.shape[-1] == 4:
            reach = references[..., 2:] * (0.5 / self.num_points)
        else:
            reach = 1 / references.new_tensor([(width, height) for height, width in shapes]).unsqueeze(1)
        return Looks(references[..., :2] + offsets * reach, weights)
