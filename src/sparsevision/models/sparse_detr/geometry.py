"""Geometry of tokens: padding masks, position encodings, reference points and the first stage's proposals."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparsevision.kernels.dispatch import sizes_like
from sparsevision.models.sparse_detr.deformable import Shapes

# The first stage proposes squares of this share of the image on the finest level, twice as large on each next one.
PROPOSAL_SIDE = 0.05
# Boxes whose centre or sides lie outside of this range have no finite logit, and are never proposed.
PROPOSAL_RANGE = (0.01, 0.99)


def padding_mask(images: Tensor, sizes: Int[Tensor, "batch 2"]) -> Bool[Tensor, "batch height width"]:
    """Marks the pixels that are padding; `sizes` (B, 2) are valid heights and widths."""
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device).view(1, -1, 1) >= sizes[:, 0].view(-1, 1, 1)
    columns = torch.arange(width, device=images.device).view(1, 1, -1) >= sizes[:, 1].view(-1, 1, 1)
    return rows | columns


def level_masks(mask: Bool[Tensor, "batch height width"], shapes: Shapes) -> list[Bool[Tensor, "batch _ _"]]:
    """Shrinks the image's mask to every level's size, by the nearest pixel."""
    return [F.interpolate(mask[:, None].float(), size=shape)[:, 0].bool() for shape in shapes]


def valid_ratios(masks: list[Bool[Tensor, "batch _ _"]]) -> Float[Tensor, "batch levels 2"]:
    """Returns the image's share (x, y) of each level's map, read off its first row and column."""
    return torch.stack([torch.stack([(~m[:, 0]).float().mean(1), (~m[:, :, 0]).float().mean(1)], -1) for m in masks], 1)


def _waves(values: Tensor, channels: int) -> Tensor:
    """Encodes numbers as sines and cosines of falling frequency, interleaved: (*shape) to (*shape, channels)."""
    exponent = torch.arange(channels, device=values.device).div(2, rounding_mode="floor") * (2 / channels)
    angles = values.unsqueeze(-1) / 10000**exponent
    return torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], dim=-1).flatten(-2)


def sine_encoding(mask: Bool[Tensor, "batch h w"], width: int) -> Float[Tensor, "batch tokens width"]:
    """Encodes each token's place in the valid image: the first half of the numbers for y, the second for x."""
    valid = (~mask).float()
    counted = [valid.cumsum(dim=axis) for axis in (1, 2)]
    ends = (counted[0][:, -1:], counted[1][:, :, -1:])
    places = [2 * math.pi * (count - 0.5) / (end + 1e-6) for count, end in zip(counted, ends, strict=True)]
    return torch.cat([_waves(place, width // 2) for place in places], dim=-1).flatten(1, 2)


def token_references(shapes: Shapes, ratios: Float[Tensor, "batch levels 2"]) -> Float[Tensor, "batch tokens 2"]:
    """Returns the centre (x, y) of every token's pixel as fractions of the valid image."""
    return torch.cat([_centres(shape, ratios) / ratios[:, None, i] for i, shape in enumerate(shapes)], dim=1)


def _centres(shape: tuple[int, int], like: Tensor) -> Tensor:
    """Returns the centres (1, h w, 2) of a map's pixels as fractions of the padded map."""
    rows, columns = ((torch.arange(side, device=like.device, dtype=torch.float32) + 0.5) / side for side in shape)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y], dim=-1).view(1, -1, 2)


def proposals(masks: list[Bool[Tensor, "batch _ _"]]) -> Float[Tensor, "batch tokens 4"]:
    """Returns one box a token as logits of (centre x, centre y, width, height); infinite where none can be proposed.

    That is where the token is padding, and where its centre or side leaves `PROPOSAL_RANGE`.
    """
    found = []
    for level, mask in enumerate(masks):
        height, width = mask.shape[1:]
        valid = torch.stack([(~mask[:, 0]).sum(1), (~mask[:, :, 0]).sum(1)], dim=-1).float()[:, None]
        centres = _centres((height, width), valid) * sizes_like(valid, (width, height)) / valid
        sides = torch.full_like(centres, PROPOSAL_SIDE * 2**level)
        box = torch.cat([centres, sides], dim=-1)
        low, high = PROPOSAL_RANGE
        possible = ((box > low) & (box < high)).all(dim=-1) & ~mask.flatten(1)
        found.append(torch.logit(box).masked_fill(~possible.unsqueeze(-1), math.inf))
    return torch.cat(found, dim=1)


class TokenGeometry(NamedTuple):
    """What follows from the sizes of images and levels alone, for the tokens of all levels.

    `positions` are encodings of `references`, places (x, y) as fractions of the valid image; `padding` marks tokens
    outside of it, None where no image is padded; `ratios` are its shares (x, y) of each level's map, and `boxes` the
    proposals.
    """

    positions: Float[Tensor, "batch tokens width"]
    references: Float[Tensor, "batch tokens 2"]
    padding: Bool[Tensor, "batch tokens"] | None
    ratios: Float[Tensor, "batch levels 2"]
    boxes: Float[Tensor, "batch tokens 4"]


def token_geometry(images: Tensor, sizes: Tensor | None, shapes: Shapes, width: int) -> TokenGeometry:
    """Returns the geometry of a batch; that of images without padding is kept for the next ones of their size."""
    if sizes is not None:
        return _geometry(level_masks(padding_mask(images, sizes), shapes), width)
    device = images.device
    # A traced call needs these operations in its graph, and a fake tensor must not enter the cache.
    kept = type(images) is Tensor and not torch.compiler.is_compiling()
    made = (_kept_geometry if kept else _unpadded_geometry)(tuple(shapes), width, device)
    positions, references, ratios, boxes = (
        each.expand(images.shape[0], -1, -1) for each in (made.positions, made.references, made.ratios, made.boxes)
    )
    return TokenGeometry(positions, references, None, ratios, boxes)


@lru_cache(maxsize=2)
def _kept_geometry(shapes: tuple[tuple[int, int], ...], width: int, device: torch.device) -> TokenGeometry:
    # Training may use it, too.
    with torch.inference_mode(mode=False):
        return _unpadded_geometry(shapes, width, device)


def _unpadded_geometry(shapes: tuple[tuple[int, int], ...], width: int, device: torch.device) -> TokenGeometry:
    return _geometry([torch.zeros(1, *shape, dtype=torch.bool, device=device) for shape in shapes], width)


def _geometry(masks: list[Bool[Tensor, "batch _ _"]], width: int) -> TokenGeometry:
    shapes = [(mask.shape[1], mask.shape[2]) for mask in masks]
    ratios = valid_ratios(masks)
    return TokenGeometry(
        positions=torch.cat([sine_encoding(level, width) for level in masks], dim=1),
        references=token_references(shapes, ratios), padding=torch.cat([level.flatten(1) for level in masks], dim=1),
        ratios=ratios, boxes=proposals(masks),
    )  # fmt: skip


def embed_boxes(boxes: Float[Tensor, "batch queries 4"], width: int) -> Float[Tensor, "batch queries numbers"]:
    """Encodes boxes, as fractions of the image, in half a width of numbers a coordinate (released: 128 of 256)."""
    return _waves(boxes * (2 * math.pi), width // 2).flatten(-2)


def inverse_sigmoid(shares: Float[Tensor, "*shape"], eps: float = 1e-5) -> Float[Tensor, "*shape"]:
    """Returns logits of shares of 1; both sides of the quotient are kept off zero."""
    shares = shares.clamp(0, 1)
    return (shares.clamp(min=eps) / (1 - shares).clamp(min=eps)).log()
