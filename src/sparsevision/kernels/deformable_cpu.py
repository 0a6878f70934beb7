"""The fast form of multi-scale deformable attention on a CPU: a point is four weighted rows of a table.

The four rows are the corners of a cell of the level's map. A cell is moved into the map where a point lies outside, so
that its rows always exist, and a corner's share of the point falls linearly with the distance and is nothing from one
pixel on, so that a point outside reads what bilinear interpolation with zeros around the map reads. No corner has to be
asked whether it is inside; a query of a head is then one bag of rows. Queries are taken some at a time, always into the
same memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from sparsevision.kernels.custom_op import custom_op
from sparsevision.kernels.dispatch import fast_cpu_inference, fast_cpu_training

# Queries that are sampled at a time: what lies between sampling and summing then stays in cache.
CHUNK = 512
# Rows are counted in floats, which hold every integer up to here.
MOST_ROWS = 2**24
# Distance of the neighbour that a map of a single row or column does not have.
_NOWHERE = math.inf


def rows_can_be_sampled(values: Tensor, shapes: Any, *points: Tensor) -> bool:
    """Returns whether `sample_rows` may run: eagerly or without gradients on a CPU, in float32, below `MOST_ROWS`."""
    if not (fast_cpu_inference(values) or fast_cpu_training(values)):
        return False
    in_full = all(tensor.dtype == torch.float32 for tensor in (values, *points))
    return in_full and values.shape[1] * values.shape[2] <= MOST_ROWS


def sample_rows(values: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Reads `values` (B, N, M, D) at `locations` (B, Q, M, L, P, 2), weighted by `weights` (B, Q, M, L, P)."""
    sides = [side for shape in shapes for side in shape]
    read = sample_corner_rows if fast_cpu_inference(values) else CornerRows.apply
    return read(values, locations, weights, sides)


class _Grid:
    """Constants of the levels' shapes; the last axis runs over the points of all levels.

    Axes of places are (x, y); tables hold the heads of a token one after another.
    """

    def __init__(self, sides: Sequence[int], heads: int, points: int) -> None:
        heights, widths = torch.tensor(sides).view(-1, 2).unbind(dim=1)
        tokens = heights * widths
        lengths = torch.stack([widths, heights]).repeat_interleave(points, dim=1)
        firsts = (tokens.cumsum(dim=0) - tokens).repeat_interleave(points)
        self.heads, self.points, self.size = heads, points, lengths.shape[1]
        self.most = int(tokens.sum()) * heads - 1
        self.extent = lengths.float()[:, None, None]
        self.last = (lengths - 2).clamp(min=0).float()[:, None, None]
        steps = torch.where(lengths > 1, 1.0, _NOWHERE)
        self.steps = torch.stack([torch.zeros_like(steps), steps])[:, :, None, None]
        self.first = (firsts * heads + torch.arange(heads).unsqueeze(1)).float()
        self.row = (lengths[0] * heads).float()
        aside, down = (lengths > 1) * torch.stack([torch.full_like(lengths[0], heads), lengths[0] * heads])
        self.corners = torch.stack([torch.zeros_like(aside), aside, down, down + aside]).int()
        # (first row, one past the last row, rows to each corner) of every level in the table.
        ends = tokens.cumsum(dim=0) * heads
        self.levels = [
            (end - count * heads, end, *self.corners[1:, level * points].tolist())
            for level, (end, count) in enumerate(zip(ends.tolist(), tokens.tolist(), strict=True))
        ]


@lru_cache(maxsize=16)
def _grid(sides: tuple[int, ...], heads: int, points: int) -> _Grid:
    # What is made while predicting may be used in training, too.
    with torch.inference_mode(mode=False):
        return _Grid(sides, heads, points)


class _Chunk:
    """The cells of some queries' points, with everything that depends on the points, in memory that is used again.

    Axes before a point's are (near or far corner, x or y) for `distances`, `tents` and `slopes`, and (down, aside) for
    `shares`.
    """

    def __init__(self, grid: _Grid, queries: int) -> None:
        shape = (queries, grid.heads, grid.size)
        self.grid, self.queries = grid, queries
        self.position, self.corner = torch.empty(2, 2, *shape)
        self.base, self.cells = torch.empty(shape), torch.empty(shape, dtype=torch.int32)
        self.rows = torch.empty(queries, grid.heads, 4, grid.size, dtype=torch.int32)
        self.distances = torch.empty(2, 2, *shape)
        self.vertical = torch.empty(2, *shape)
        self.shares = torch.empty(queries, grid.heads, 4, grid.size)
        self.bags = torch.arange(0, self.rows.numel(), 4 * grid.size, dtype=torch.int32)
        self.bag_of_row = torch.arange(len(self.bags), dtype=torch.int32).repeat_interleave(4 * grid.size)

    def locate(self, locations: Float[Tensor, "queries heads levels points 2"]) -> None:
        """Finds each point's cell, the rows of its corners, and the distances from them in pixels."""
        grid = self.grid
        torch.mul(locations.flatten(2, 3).movedim(-1, 0), grid.extent, out=self.position).sub_(0.5)
        torch.clamp(self.position, self.position.new_zeros(()), grid.last, out=self.corner).floor_()
        torch.sub(self.position.sub_(self.corner), grid.steps, out=self.distances)
        torch.addcmul(grid.first, self.corner[1], grid.row, out=self.base).add_(self.corner[0], alpha=grid.heads)
        # A location that is NaN has no cell; any will do, since its shares are NaN as well.
        self.cells.copy_(self.base).clamp_(0, grid.most)
        torch.add(self.cells.unsqueeze(2), grid.corners, out=self.rows)

    def share(self, weights: Float[Tensor, "queries heads levels points"]) -> Tensor:
        """Turns distances into tents, and returns these; `shares` are then the points' weights spread over corners."""
        tents = self.distances.abs_().neg_().add_(1).clamp_(min=0)
        torch.mul(weights.flatten(2), tents[:, 1], out=self.vertical)
        by_corner = self.shares.unflatten(2, (2, 2)).permute(2, 3, 0, 1, 4)
        torch.mul(self.vertical.unsqueeze(1), tents[:, 0], out=by_corner)
        return tents

    def read(self, table: Float[Tensor, "rows channels"]) -> Float[Tensor, "bags channels"]:
        """Sums every bag's rows by their shares."""
        return _sum_rows(table, self.rows.view(-1), self.bags, self.shares.view(-1))


@custom_op(
    "(Tensor values, Tensor locations, Tensor weights, int[] sides) -> Tensor",
    lambda values, locations, weights, sides: values.new_empty(*locations.shape[:2], values.shape[2] * values.shape[3]),
)
def sample_corner_rows(values: Tensor, locations: Tensor, weights: Tensor, sides: list[int]) -> Tensor:
    """Reads in float32, for inference; `sides` are the levels' heights and widths, one after another."""
    batch, tokens, heads, channels = values.shape
    queries = locations.shape[1]
    table = values.reshape(batch, tokens * heads, channels)
    result = values.new_empty(batch, queries, heads * channels)
    grid = _grid(tuple(sides), heads, locations.shape[4])
    for some, chunk in _chunks(grid, queries):
        for image in range(batch):
            chunk.locate(locations[image, some])
            chunk.share(weights[image, some])
            result[image, some] = chunk.read(table[image]).view(-1, heads * channels)
    return result


def _chunks(grid: _Grid, queries: int) -> list[tuple[slice, _Chunk]]:
    """Cuts queries into chunks; all but a smaller last one share their memory."""
    whole, left = divmod(queries, CHUNK)
    full = _Chunk(grid, CHUNK) if whole else None
    chunks = [(slice(start * CHUNK, (start + 1) * CHUNK), full) for start in range(whole) if full is not None]
    if left:
        chunks.append((slice(queries - left, queries), _Chunk(grid, left)))
    return chunks


class CornerRows(torch.autograd.Function):
    """`sample_corner_rows` with gradients of values, locations and weights, for training on a CPU."""

    @staticmethod
    def forward(values: Tensor, locations: Tensor, weights: Tensor, sides: list[int]) -> Tensor:
        """Reads as in inference; what the backward pass needs is computed again there."""
        return sample_corner_rows(values, locations, weights, sides)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keeps the inputs."""
        *tensors, ctx.sides = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradients that are asked for; a location's and a weight's come together."""
        values, locations, weights = ctx.saved_tensors
        places = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        grid = _grid(tuple(ctx.sides), values.shape[2], locations.shape[4])
        to_values = torch.empty_like(values, memory_format=torch.contiguous_format) if ctx.needs_input_grad[0] else None
        to_locations, to_weights = torch.empty_like(locations), torch.empty_like(weights)
        with torch.autocast("cpu", enabled=False):
            for image in range(len(values)):
                back = _Backward(grid, values[image], gradient[image])
                found = back.run(locations[image], weights[image], places=places)
                if places:
                    to_locations[image], to_weights[image] = found
                if to_values is not None:
                    to_values[image] = back.to_values().view_as(to_values[image])
        return to_values, to_locations if places else None, to_weights if places else None, None


class _Backward:
    """One image's backward pass."""

    def __init__(self, grid: _Grid, values: Tensor, gradient: Tensor) -> None:
        self.grid = grid
        self.table = values.reshape(-1, values.shape[-1])
        self.gradient = gradient.reshape(-1, values.shape[-1])
        self.cells = torch.empty(len(self.gradient), grid.size, dtype=torch.int32)
        self.shares = values.new_empty(4, len(self.gradient), grid.size)

    def run(self, locations: Tensor, weights: Tensor, *, places: bool) -> tuple[Tensor, Tensor]:
        """Returns the gradients of locations and weights (or nothing sensible), and keeps all cells and shares."""
        to_locations, to_weights = torch.empty_like(locations), torch.empty_like(weights)
        heads = self.grid.heads
        for some, chunk in _chunks(self.grid, len(locations)):
            bags = slice(some.start * heads, some.stop * heads)
            chunk.locate(locations[some])
            slopes = _slopes(chunk.distances) if places else chunk.distances
            tents = chunk.share(weights[some])
            self.cells[bags] = chunk.cells.flatten(0, 1)
            self.shares[:, bags] = chunk.shares.flatten(0, 1).transpose(0, 1)
            if places:
                across, along = self._to_points(chunk, self.gradient[bags], slopes, tents)
                across *= weights[some].flatten(2) * self.grid.extent
                to_locations[some] = across.movedim(0, -1).view_as(to_locations[some])
                to_weights[some] = along.view_as(to_weights[some])
        return to_locations, to_weights

    def _to_points(self, chunk: _Chunk, gradient: Tensor, slopes: Tensor, tents: Tensor) -> tuple[Tensor, Tensor]:
        """Returns, for weights of one, how the result grows with a point's place (in pixels), and with its weight."""
        rows = chunk.rows.view(-1)
        dots = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            gradient, self.table, rows, chunk.bags, chunk.bag_of_row, 0
        )
        by_corner = dots.view(chunk.queries, self.grid.heads, 2, 2, -1).permute(2, 3, 0, 1, 4).contiguous()
        mixed = torch.addcmul(by_corner[:, 0] * tents[0, 0], by_corner[:, 1], tents[1, 0])
        tilted = torch.addcmul(by_corner[:, 0] * slopes[0, 0], by_corner[:, 1], slopes[1, 0])
        x = torch.addcmul(tilted[0] * tents[0, 1], tilted[1], tents[1, 1])
        y = torch.addcmul(mixed[0] * slopes[0, 1], mixed[1], slopes[1, 1])
        return torch.stack([x, y]), torch.addcmul(mixed[0] * tents[0, 1], mixed[1], tents[1, 1])

    def to_values(self) -> Float[Tensor, "rows channels"]:
        """Returns the gradient of the table: each row a bag of the gradients of those who read it.

        Points are sorted by their cells once, for one corner after another; a corner's rows are then moved to where
        they belong.
        """
        cells = self.cells.view(-1)
        order = cells.argsort()
        owners = order // self.grid.size
        counts = cells.bincount(minlength=len(self.table))
        bags = counts.cumsum(dim=0) - counts
        total = None
        for corner, shares in enumerate(self.shares.flatten(1)):
            found = _sum_rows(self.gradient, owners, bags, shares.index_select(0, order))
            if total is None:
                total = found
                continue
            for first, end, *moves in self.grid.levels:
                move = moves[corner - 1]
                total[first + move : end] += found[first : end - move]
        assert total is not None
        return total


def _sum_rows(table: Tensor, rows: Tensor, bags: Tensor, shares: Tensor) -> Tensor:
    """Sums the table's `rows` by their shares in bags, whose first rows are `bags`."""
    return torch.embedding_bag(table, rows, bags, mode=0, per_sample_weights=shares)[0]


def _slopes(distances: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns by how much a tent grows with the point's place: towards its corner 1, away from it -1, else 0."""
    pixel = distances.floor()
    return torch.eq(pixel, -1).float() - torch.eq(pixel, 0).float()
