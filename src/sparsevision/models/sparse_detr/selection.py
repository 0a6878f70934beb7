"""Selection of the tokens that the encoder updates, learned from the decoder's attention map (Section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sparsevision.kernels.bilinear import corner_shares
from sparsevision.kernels.dispatch import sizes_like
from sparsevision.models.sparse_detr.deformable import SamplingLocations, Shapes

Scores = Float[Tensor, "batch tokens"]
Padding = Bool[Tensor, "batch tokens"]
Counts = Int[Tensor, " batch"]


# Pixels of a level that the longer side of its largest objects has.
LARGEST_SIDE = 8
# The salience of a token at the edge of an object.
LEAST_SALIENCE = 0.05


class TokenSelection(NamedTuple):
    """The tokens that are updated: `indices` (B, K), best first; an image's own are the first that are `kept`.

    None are all: every image has as many.
    """

    indices: Int[Tensor, "batch chosen"]
    kept: Bool[Tensor, "batch chosen"] | None = None

    def gather(self, tokens: Float[Tensor, "batch tokens channels"]) -> Float[Tensor, "batch chosen channels"]:
        """Reads the rows of the chosen tokens."""
        return tokens.flatten(0, 1).index_select(0, self._rows(tokens)).view(*self.indices.shape, -1)

    def write(
        self, tokens: Float[Tensor, "batch tokens channels"], chosen: Float[Tensor, "batch chosen channels"]
    ) -> Float[Tensor, "batch tokens channels"]:
        """Returns all tokens with the chosen ones replaced; rows beyond an image's budget stay what they are."""
        if self.kept is not None:
            chosen = torch.where(self.kept.unsqueeze(-1), chosen, self.gather(tokens))
        return tokens.flatten(0, 1).index_copy(0, self._rows(tokens), chosen.flatten(0, 1)).view_as(tokens)

    def _rows(self, tokens: Tensor) -> Tensor:
        """Returns the places of the chosen tokens among those of all images: whole rows are moved at once so."""
        firsts = torch.arange(tokens.shape[0], device=tokens.device) * tokens.shape[1]
        return (self.indices + firsts.unsqueeze(1)).flatten()


class TokenScorer(nn.Module):
    """The scoring network: one logit a token, from the token and the mean over the image's tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, width)
        self.mlp = nn.ModuleList(
            [nn.Linear(width, width // 2), nn.Linear(width // 2, width // 4), nn.Linear(width // 4, 1)]
        )

    def forward(self, tokens: Float[Tensor, "batch tokens width"], padding: Padding | None = None) -> Scores:
        """Scores tokens; those under `padding` take no part in the mean."""
        own, shared = F.gelu(self.project(self.norm(tokens))).chunk(2, dim=-1)
        if padding is None:
            mean = shared.mean(dim=1, keepdim=True)
        else:
            valid = (~padding).unsqueeze(-1).to(shared.dtype)
            mean = (shared * valid).sum(dim=1, keepdim=True) / valid.sum(dim=1, keepdim=True).clamp(min=1)
        first, second, last = self.mlp
        hidden = F.gelu(first(torch.cat([own, mean.expand_as(own)], dim=-1)))
        return last(F.gelu(second(hidden))).squeeze(-1)


def budgets(padding: Padding, keep_ratio: float) -> Counts:
    """Returns the number of tokens of each image that are updated: floor(rho n) + 1 of its n, but not more than n."""
    present = (~padding).sum(dim=1)
    return torch.minimum((present.float() * keep_ratio).long() + 1, present)


def whole_budget(tokens: int, keep_ratio: float) -> int:
    """Returns the budget of an image without padding, as a number that is known without reading any tensor."""
    if isinstance(tokens, torch.SymInt):
        # A size that an exported graph leaves open: in whole numbers alone, and without a comparison, which would bind
        # the graph to the sizes of its example.
        share = Fraction(keep_ratio).limit_denominator(10_000)
        return tokens if share >= 1 else tokens * share.numerator // share.denominator + 1
    return min(int(np.float32(tokens) * np.float32(keep_ratio)) + 1, tokens)


def without_ties(scores: Scores, blank: Padding) -> Scores:
    """Lowers the scores of `blank` tokens, each by two units of rounding more than the one before it.

    The first stage blanks what has no proposal, so that these tokens all have one score. If the budget ends among them,
    which of them are updated would be up to the runtime, and an exported graph would give other answers.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return scores - scores.abs() * (blank.cumsum(dim=1) * blank) * (2 * torch.finfo(scores.dtype).eps)


def select(scores: Scores, counts: Counts | int) -> TokenSelection:
    """Chooses each image's best tokens, of all levels together; one number is that of every image."""
    if not isinstance(counts, Tensor):
        return TokenSelection(scores.topk(counts, dim=1).indices)
    most = int(counts.max())
    indices = scores.topk(most, dim=1).indices
    return TokenSelection(indices, torch.arange(most, device=scores.device) < counts.unsqueeze(1))


def attention_map(looks: Sequence[SamplingLocations], shapes: Shapes, *, centred: bool) -> Scores:
    """Sums over layers, heads, queries and points what the decoder's cross-attention reads of each token (DAM).

    A point's weight goes to the four tokens around it, by their nearness. `centred` counts from the pixels' centres,
    as the sampling does; the released code counts from their corners. No gradient flows.
    """
    with torch.no_grad():
        # Thousands of small shares are added up, so never in half precision.
        locations, weights = (
            torch.stack([tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for tensor in tensors], dim=1)
            for tensors in zip(*looks, strict=True)
        )
        shift = 0.5 if centred else 0.0
        levels = zip(locations.unbind(dim=-3), weights.unbind(dim=-2), shapes, strict=True)
        return torch.cat([_spread(*level, shift) for level in levels], dim=1)


def dense_attention_map(weights: Sequence[Float[Tensor, "batch heads queries tokens"]]) -> Scores:
    """Sums the same of dense cross-attention, as in DETR: over layers, heads and queries. No gradient flows."""
    with torch.no_grad():
        return torch.stack([layer.float().sum(dim=(1, 2)) for layer in weights]).sum(dim=0)


def _spread(locations: Tensor, weights: Tensor, shape: tuple[int, int], shift: float) -> Tensor:
    height, width = shape
    position = (locations * sizes_like(locations, (width, height)) - shift).flatten(1, -2)
    rows, shares = corner_shares(position, width, height)
    total = weights.new_zeros(weights.shape[0], height * width)
    for corner in range(4):
        total.scatter_add_(1, rows[..., corner], shares[..., corner] * weights.flatten(1))
    return total


def binarise(attention: Scores, padding: Padding | None, counts: Counts | int) -> Scores:
    """Returns 1 for each image's `counts` most read tokens, padding last, and 0 for the others."""
    chosen = select(attention if padding is None else attention.masked_fill(padding, -math.inf), counts)
    kept = torch.ones_like(chosen.indices) if chosen.kept is None else chosen.kept
    return torch.zeros_like(attention).scatter_(1, chosen.indices, kept.to(attention.dtype))


def salience(
    references: Float[Tensor, "batch tokens 2"], shapes: Shapes, boxes: Sequence[Float[Tensor, "_ 4"]],
    sides: Float[Tensor, "batch 2"],
) -> Scores:  # fmt: skip
    """Returns how near each token is to the centre of an object of its level's size: from 0 to 1 there, else 0.

    A level is for objects whose longer side has up to `LARGEST_SIDE` of its pixels, and is too long for the level
    before; the last one is for all longer ones. After Focus-DETR (arXiv 2307.12612) and Salience DETR (2403.16131).

    Args:
        references: places (x, y) of the tokens, as fractions of the valid image.
        shapes: heights and widths of the levels.
        boxes: (cx, cy, w, h) of each image's objects, as fractions of the valid image.
        sides: width and height of each valid image, in pixels of the finest level.
    """
    counts = [height * width for height, width in shapes]
    pixel = torch.tensor([shapes[0][0] / height for height, _ in shapes], device=sides.device)  # in those of the finest
    limits = pixel * LARGEST_SIDE
    limits[-1] = math.inf
    lower = torch.cat([limits.new_zeros(1), limits[:-1]])
    pixel, lower, upper = (
        torch.cat([value.expand(count) for value, count in zip(each, counts, strict=True)]).unsqueeze(1)
        for each in (pixel, lower, limits)
    )
    found = []
    for places, objects, size in zip(references, boxes, sides, strict=True):
        if not len(objects):
            found.append(places.new_zeros(len(places)))
            continue
        longest = (objects[:, 2:] * size).amax(dim=1)
        # However small an object is, it has the pixel that its centre is in.
        reach = torch.maximum(objects[:, 2:] / 2, pixel.unsqueeze(2) / (2 * size))
        offsets = (places.unsqueeze(1) - objects[:, :2]).abs() / reach
        here = (offsets <= 1).all(dim=2) & (longest > lower) & (longest <= upper)
        nearness = 1 - offsets.square().mean(dim=2).sqrt()
        found.append(torch.where(here, nearness.clamp(min=LEAST_SALIENCE), 0).amax(dim=1))
    return torch.stack(found)


def salience_losses(scores: Scores, target: Scores, ignored: Padding | None = None) -> Float[Tensor, " batch"]:
    """Returns each image's mean focal loss of its tokens' scores, without the `ignored` ones."""
    error = (scores.sigmoid() - target).square().detach()
    return _means(error * F.binary_cross_entropy_with_logits(scores, target, reduction="none"), ignored)


def mask_losses(scores: Scores, target: Scores, ignored: Padding | None = None) -> Float[Tensor, " batch"]:
    """Returns each image's mean binary cross-entropy of its tokens' scores, without the `ignored` ones."""
    return _means(F.binary_cross_entropy_with_logits(scores, target, reduction="none"), ignored)


def _means(losses: Scores, ignored: Padding | None) -> Float[Tensor, " batch"]:
    if ignored is None:
        return losses.mean(dim=1)
    return losses.masked_fill(ignored, 0).sum(dim=1) / (~ignored).sum(dim=1).clamp(min=1)
