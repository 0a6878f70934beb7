"""Queries and the decoder: boxes that are refined layer by layer (Deformable DETR, Appendix A.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sparsevision.models.sparse_detr.config import SparseDETRConfig
from sparsevision.models.sparse_detr.deformable import DeformableAttention, SamplingLocations
from sparsevision.models.sparse_detr.encoder import TokenPyramid
from sparsevision.models.sparse_detr.geometry import embed_boxes, inverse_sigmoid
from sparsevision.models.sparse_detr.heads import BoxHead, PostNormFeedForward


class AttentionGroup(NamedTuple):
    """So many `rows` of queries that attend to one another, or several `copies` of so many; `absent` rows are none."""

    rows: int
    copies: int = 1
    absent: Bool[Tensor, "batch_copies rows"] | None = None


class ObjectQueries(NamedTuple):
    """Queries that the decoder starts from; `references` are points or boxes as fractions of the valid image.

    `groups`, in training with several of them, divide the queries into those that attend to one another; None is one.
    """

    content: Float[Tensor, "batch queries width"]
    positions: Float[Tensor, "batch queries width"]
    references: Float[Tensor, "batch queries coordinates"]
    groups: tuple[AttentionGroup, ...] | None = None


class LearnedQueries(nn.Module):
    """A table of queries, the same for every image, each with a reference point of its own."""

    def __init__(self, config: SparseDETRConfig) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(config.num_queries, 2 * config.width))
        self.reference = nn.Linear(config.width, 2)

    def init_weights(self) -> None:
        """Draws the table from a normal distribution."""
        nn.init.normal_(self.embedding)
        nn.init.xavier_uniform_(self.reference.weight)
        nn.init.zeros_(self.reference.bias)

    def forward(self, batch: int) -> ObjectQueries:
        """Returns the queries, once for every image."""
        positions, content = self.embedding.expand(batch, -1, -1).chunk(2, dim=-1)
        return ObjectQueries(content, positions, self.reference(positions).sigmoid())


class ProposedQueries(nn.Module):
    """Queries from the first stage's best boxes, whose positions are embedded boxes.

    Their content is embedded too ("boxes"), or is the encoder's own token ("tokens", efficient query initialisation).
    """

    def __init__(self, config: SparseDETRConfig) -> None:
        super().__init__()
        self.from_tokens, self.width = config.queries == "tokens", config.width
        width = config.width if self.from_tokens else 2 * config.width
        self.project = nn.Linear(2 * config.width, width)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, boxes: Float[Tensor, "batch queries 4"], tokens: Float[Tensor, "batch queries width"]
    ) -> ObjectQueries:
        """Returns the queries for boxes, as fractions of the image, and the tokens that proposed them."""
        embedded = self.norm(self.project(embed_boxes(boxes, self.width).to(tokens.dtype)))
        if self.from_tokens:
            return ObjectQueries(tokens, embedded, boxes)
        positions, content = embedded.chunk(2, dim=-1)
        return ObjectQueries(content, positions, boxes)


class DeformableDecoderLayer(nn.Module):
    """Attention among the queries, deformable attention to the image's tokens, a feed-forward network."""

    def __init__(self, config: SparseDETRConfig) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(config.width, config.num_heads, config.dropout, batch_first=True)
        self.norm_self = nn.LayerNorm(config.width)
        self.cross_attn = DeformableAttention(
            config.width, num_levels=config.num_levels, num_heads=config.num_heads, num_points=config.num_points
        )
        self.norm_cross = nn.LayerNorm(config.width)
        self.ffn = PostNormFeedForward(config.width, config.ffn_width, config.dropout)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, content: Float[Tensor, "batch queries width"], positions: Float[Tensor, "batch queries width"],
        references: Float[Tensor, "batch queries levels coordinates"], memory: TokenPyramid,
        groups: tuple[AttentionGroup, ...] | None = None,
    ) -> tuple[Float[Tensor, "batch queries width"], SamplingLocations]:  # fmt: skip
        """Returns the queries' content after the layer, and their sampling locations."""
        content = self.norm_self(content + self.dropout(self._exchange(content + positions, content, groups)))
        read, looks = self.cross_attn(content + positions, references, memory.tokens, memory.shapes, memory.padding)
        return self.ffn(self.norm_cross(content + self.dropout(read))), looks

    def _exchange(self, placed: Tensor, content: Tensor, groups: tuple[AttentionGroup, ...] | None) -> Tensor:
        if groups is None:
            return self.self_attn(placed, placed, content, need_weights=False)[0]
        counts, found = [group.rows * group.copies for group in groups], []
        for group, *parts in zip(groups, placed.split(counts, dim=1), content.split(counts, dim=1), strict=True):
            keys, values = (part.reshape(-1, group.rows, part.shape[2]) for part in parts)
            read, _ = self.self_attn(keys, keys, values, need_weights=False, key_padding_mask=group.absent)
            found.append(read.reshape(parts[0].shape))
        return torch.cat(found, dim=1)


class DecodedLayer(NamedTuple):
    """Output of one layer: its queries' `content`, their `logits`, their `boxes`, and their sampling locations."""

    content: Float[Tensor, "batch queries width"]
    logits: Float[Tensor, "batch queries classes"]
    boxes: Float[Tensor, "batch queries 4"]
    looks: SamplingLocations


class DeformableDecoder(nn.Module):
    """Layers with a head each; with refinement, a layer starts from the boxes of the layer before.

    Where it looks forward twice, the loss of a layer's boxes also reaches the layer before, whose boxes it corrects
    (DINO, arXiv 2203.03605).
    """

    def __init__(self, config: SparseDETRConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DeformableDecoderLayer(config) for _ in range(config.decoder_depth))
        self.refines = config.boxes == "refined"
        self.twice = config.look_forward == "twice"

    def forward(self, queries: ObjectQueries, memory: TokenPyramid, heads: Sequence[BoxHead]) -> list[DecodedLayer]:
        """Returns every layer's output; boxes (cx, cy, w, h) are fractions of the valid image."""
        content, positions, references, groups = queries
        start, decoded = inverse_sigmoid(references), []
        for layer, head in zip(self.layers, heads, strict=True):
            ratios = memory.ratios.repeat(1, 1, references.shape[-1] // 2)
            content, looks = layer(content, positions, references.unsqueeze(2) * ratios.unsqueeze(1), memory, groups)
            boxes = (head.shift(content) + F.pad(start, (0, 4 - start.shape[-1]))).sigmoid()
            decoded.append(DecodedLayer(content, head.classes(content), boxes, looks))
            if self.refines:
                references = boxes.detach()
                start = inverse_sigmoid(boxes if self.twice else references)
        return decoded
