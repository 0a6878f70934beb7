"""Token transformers: relations between the visual tokens of an image (Section 3.2), and their ablations.

All take tokens (B, L, C_T) and return tokens of the same shape with the attention (B, heads, L, L) between them, a row
for each token that receives, or None where there is none.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from timm.layers.drop import DropPath
from torch import Tensor, nn

from sparsevision.models.visual_transformer.token_maps import Form, NormedMaps, split_heads

Tokens = Float[Tensor, "batch tokens width"]
Attention = Float[Tensor, "batch heads tokens tokens"]


class TokenTransformer(NormedMaps):
    """Self-attention and a feed-forward network, each added to what it read (Eqs. 3 and 4).

    Eq. 3 prints the product as K Q^T, so that there a token's key meets the others' queries, and its values are the
    tokens themselves. In the budget form queries and keys are half as wide as tokens.
    """

    def __init__(self, width: int, form: Form, *, heads: int = 1, groups: int = 1, drop_path_rate: float = 0.0) -> None:
        super().__init__(form)
        self.heads = heads
        inner = width // 2 if form == "budget" else width
        self.add_token_map("query", width, inner, groups)
        self.add_token_map("key", width, inner, groups)
        if form == "budget":
            self.add_token_map("value", width, width, groups)
        self.add_token_map("ff1", width, width)
        self.add_token_map("ff2", width, width)
        self.scale = (inner // heads) ** -0.5 if form == "budget" else 1.0
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, tokens: Tokens) -> tuple[Tokens, Attention | None]:
        """Returns the tokens, and how much each took from each."""
        x = tokens.transpose(1, 2)
        queries = split_heads(self.mapped("query", x), self.heads)
        keys = split_heads(self.mapped("key", x), self.heads)
        receiving, giving = (keys, queries) if self.form == "equation" else (queries, keys)
        attention = (receiving.transpose(2, 3) @ giving * self.scale).softmax(dim=-1)
        values = split_heads(self.mapped("value", x), self.heads)
        x = x + self.drop_path((values @ attention.transpose(2, 3)).flatten(1, 2))
        x = x + self.drop_path(self.mapped("ff2", self.mapped("ff1", x).relu()))
        return x.transpose(1, 2), attention


class DenseTokens(NormedMaps):
    """One map of every token by itself (Table 5, "none"), or with what a learned graph brings it ("graph").

    The graph starts as the identity.
    """

    def __init__(self, width: int, form: Form, *, graph_of: int | None = None, drop_path_rate: float = 0.0) -> None:
        super().__init__(form)
        self.drop_path = DropPath(drop_path_rate)
        self.add_token_map("linear", width, width)
        self.adjacency = None if graph_of is None else nn.Parameter(torch.eye(graph_of))

    def forward(self, tokens: Tokens) -> tuple[Tokens, Attention | None]:
        """Returns the tokens."""
        gathered = tokens if self.adjacency is None else self.adjacency @ tokens
        found = self.mapped("linear", gathered.transpose(1, 2)).relu().transpose(1, 2)
        return tokens + self.drop_path(found), None
