"""Pixels that attend to a few tokens, with what does not depend on them multiplied into the tokens first."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparsevision.packing.convolution import fused_with_norm, packed_with_norm

_PIXELS = 1 << 13


class PackedProjector(nn.Module):
    """A projector whose maps of pixels and of tokens have their norms in them, for predicting only.

    The query map is linear, and so are the products with the keys: one matrix for each token and head is enough, of
    which there are fewer than channels. Heads lie in blocks of one matrix, since a single large product is faster than
    many small ones; the map is added by the product that mixes the values. With `in_place` it becomes the result, for
    a caller whose own it is.
    """

    in_place = False

    def __init__(self, projector: Any) -> None:
        super().__init__()
        self.heads = projector.heads
        weight, bias = fused_with_norm(projector.query, projector.query_norm)
        groups = projector.query.groups
        whole = torch.block_diag(*weight.flatten(1).chunk(groups))
        self.weight = projector.scale * whole.unflatten(0, (self.heads, -1))  # (heads, d, C)
        self.bias = projector.scale * bias.unflatten(0, (self.heads, -1))
        self.key = packed_with_norm(projector.key, projector.key_norm)
        named = hasattr(projector, "value")
        self.value = packed_with_norm(projector.value, projector.value_norm) if named else nn.Identity()

    def forward(
        self,
        features: Float[Tensor, "batch width height width_"],
        tokens: Float[Tensor, "batch tokens token_width"],
        *,
        need_weights: bool = True,
    ) -> tuple[Float[Tensor, "batch width height width_"], Float[Tensor, "batch heads tokens pixels"] | None]:
        """Returns the map, and how much every pixel took from each token, if that is needed."""
        x = tokens.transpose(1, 2)
        keys, values = (each(x).unflatten(1, (self.heads, -1)) for each in (self.key, self.value))
        weight = torch.einsum("bhdl,hdc->bhlc", keys, self.weight).flatten(1, 2)
        bias = torch.einsum("bhdl,hd->bhl", keys, self.bias).flatten(1, 2)
        values = _in_blocks(values)
        rows = features.permute(0, 2, 3, 1).flatten(1, 2)
        mixed = rows if self.in_place else torch.empty_like(rows)
        attention = []
        # What exists of a part of the pixels stays in the cache.
        for start in range(0, rows.shape[1], _PIXELS):
            part = slice(start, start + _PIXELS)
            logits = torch.baddbmm(bias.unsqueeze(2), weight, rows[:, part].mT)
            shares = logits.unflatten(1, (self.heads, -1)).softmax(dim=2)
            if need_weights:
                attention.append(shares)
            torch.baddbmm(rows[:, part], shares.flatten(1, 2).mT, values, out=mixed[:, part])
        found = mixed.unflatten(1, features.shape[2:]).permute(0, 3, 1, 2)
        return found, torch.cat(attention, dim=3) if need_weights else None


def _in_blocks(values: Float[Tensor, "batch heads channels tokens"]) -> Float[Tensor, "batch rows width"]:
    """Lays each head's values (L, d) on the diagonal of one matrix."""
    batch, heads, channels, tokens = values.shape
    found = values.new_zeros(batch, heads, tokens, heads, channels)
    places = torch.arange(heads, device=values.device)
    found[:, places, :, places] = values.permute(1, 0, 3, 2)
    return found.flatten(1, 2).flatten(2)
