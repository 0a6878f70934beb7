"""The projector: from the tokens back to the pixels (Section 3.3)."""

from __future__ import annotations

from jaxtyping import Float
from timm.layers.drop import DropPath
from torch import Tensor

from sparsevision.models.visual_transformer.token_maps import (
    Form,
    NormedMaps,
    feature_map,
    nothing,
    split_heads,
    token_map,
)


class TokenProjector(NormedMaps):
    """Every pixel attends to the tokens, and adds the mixture of them (Eq. 5).

    In the budget form the map may come out wider than it went in: a dense map then carries the pixels over.
    """

    def __init__(
        self, width: int, out_width: int, *, token_width: int, form: Form, heads: int = 1, groups: int = 1,
        drop_path_rate: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.drop_path = DropPath(drop_path_rate)
        self.heads = heads
        self.query, self.query_norm = feature_map(form, width, out_width, groups)
        self.key, self.key_norm = token_map(form, token_width, out_width)
        self.value, self.value_norm = nothing()
        if form == "budget" and out_width != token_width:
            self.value, self.value_norm = token_map(form, token_width, out_width)
        self.lateral, self.lateral_norm = nothing()
        if width != out_width:
            self.lateral, self.lateral_norm = feature_map(form, width, out_width)
        self.scale = (out_width // heads) ** -0.5 if form == "budget" else 1.0

    def forward(
        self, features: Float[Tensor, "batch width height width_"], tokens: Float[Tensor, "batch tokens token_width"]
    ) -> tuple[Float[Tensor, "batch out_width height width_"], Float[Tensor, "batch heads tokens pixels"]]:
        """Returns the map, and how much every pixel took from each token: over the tokens these sum to one."""
        x = tokens.transpose(1, 2)
        queries = split_heads(self.query_norm(self.query(features)).flatten(2), self.heads)
        keys = split_heads(self.key_norm(self.key(x)), self.heads)
        attention = (keys.transpose(2, 3) @ queries * self.scale).softmax(dim=2)
        values = split_heads(self.value_norm(self.value(x)), self.heads)
        mixed = (values @ attention).flatten(1, 2).unflatten(2, features.shape[2:])
        return self.lateral_norm(self.lateral(features)) + self.drop_path(mixed), attention
