"""The sparse encoder: only chosen tokens are updated, all of them are read (Section 3.1 and Eq. 3)."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor, nn

from sparsevision.models.sparse_detr.config import SparseDETRConfig
from sparsevision.models.sparse_detr.deformable import DeformableAttention, Shapes
from sparsevision.models.sparse_detr.heads import PostNormFeedForward
from sparsevision.models.sparse_detr.selection import TokenSelection


class TokenPyramid(NamedTuple):
    """A batch's feature levels as tokens, one level after another, each row by row.

    `positions` are their encodings, `references` their places (x, y) as fractions of the valid image; `padding` marks
    the tokens outside of it, None where no image is padded, and `ratios` are its shares (x, y) of each level's map.
    """

    tokens: Float[Tensor, "batch tokens width"]
    positions: Float[Tensor, "batch tokens width"]
    references: Float[Tensor, "batch tokens 2"]
    padding: Bool[Tensor, "batch tokens"] | None
    ratios: Float[Tensor, "batch levels 2"]
    shapes: Shapes


class SparseEncoderLayer(nn.Module):
    """Deformable attention from tokens to all tokens, then a feed-forward network, each with residual and norm."""

    def __init__(self, config: SparseDETRConfig) -> None:
        super().__init__()
        self.attn = DeformableAttention(
            config.width, num_levels=config.num_levels, num_heads=config.num_heads,
            num_points=config.encoder_points or config.num_points,
        )  # fmt: skip
        self.norm = nn.LayerNorm(config.width)
        self.ffn = PostNormFeedForward(config.width, config.ffn_width, config.dropout)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, tokens: Float[Tensor, "batch chosen width"], positions: Float[Tensor, "batch chosen width"],
        references: Float[Tensor, "batch chosen levels 2"], source: Float[Tensor, "batch tokens width"], shapes: Shapes,
        padding: Bool[Tensor, "batch tokens"] | None,
    ) -> Float[Tensor, "batch chosen width"]:  # fmt: skip
        """Returns the tokens after they have read in `source`."""
        read, _ = self.attn(tokens + positions, references, source, shapes, padding)
        return self.ffn(self.norm(tokens + self.dropout(read)))


class SparseEncoder(nn.Module):
    """Layers that update the selected tokens, or all of them."""

    def __init__(self, config: SparseDETRConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(SparseEncoderLayer(config) for _ in range(config.encoder_depth))

    def forward(
        self, pyramid: TokenPyramid, selection: TokenSelection | None
    ) -> tuple[Float[Tensor, "batch tokens width"], list[Float[Tensor, "batch chosen width"]]]:
        """Returns all tokens, and the updated ones after every layer; the others come out as they were."""
        memory, positions, references, padding, ratios, shapes = pyramid
        tokens = memory
        if selection is not None:
            tokens, positions, references = (selection.gather(x) for x in (tokens, positions, references))
        references = references.unsqueeze(2) * ratios.unsqueeze(1)
        states = []
        for layer in self.layers:
            tokens = layer(tokens, positions, references, memory, shapes, padding)
            memory = tokens if selection is None else selection.write(memory, tokens)
            states.append(tokens)
        return memory, states
