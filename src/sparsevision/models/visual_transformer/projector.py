"""The projector: from the tokens back to the pixels (Section 3.3)."""

from __future__ import annotations

from jaxtyping import Float
from timm.layers.drop import DropPath
from torch import Tensor, nn

from sparsevision.models.visual_transformer.token_maps import Form, NormedMaps, split_heads
from sparsevision.packing.token_projector import PackedProjector


class TokenProjector(NormedMaps):
    """Every pixel attends to the tokens, and adds the mixture of them (Eq. 5).

    In the budget form the map may come out wider than it went in: a dense map then carries the pixels over.
    """

    def __init__(
        self, width: int, out_width: int, *, token_width: int, form: Form, heads: int = 1, groups: int = 1,
        drop_path_rate: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(form)
        self.drop_path = DropPath(drop_path_rate)
        self.heads = heads
        self.add_feature_map("query", width, out_width, groups)
        self.add_token_map("key", token_width, out_width)
        if form == "budget" and out_width != token_width:
            self.add_token_map("value", token_width, out_width)
        if width != out_width:
            self.add_feature_map("lateral", width, out_width)
        self.scale = (out_width // heads) ** -0.5 if form == "budget" else 1.0

    def packed(self) -> nn.Module:
        """Packs the maps with their norms; and all of it, where the map stays as wide as it is."""
        if self.form != "budget" or "lateral" in self._modules:
            return super().packed()
        return PackedProjector(self)

    def forward(
        self,
        features: Float[Tensor, "batch width height width_"],
        tokens: Float[Tensor, "batch tokens token_width"],
        *,
        need_weights: bool = True,
    ) -> tuple[Float[Tensor, "batch out_width height width_"], Float[Tensor, "batch heads tokens pixels"] | None]:
        """Returns the map, and how much every pixel took from each token: over the tokens these sum to one.

        Without `need_weights` the packed form does not keep the latter.
        """
        x = tokens.transpose(1, 2)
        queries = split_heads(self.mapped("query", features).flatten(2), self.heads)
        keys = split_heads(self.mapped("key", x), self.heads)
        attention = (keys.transpose(2, 3) @ queries * self.scale).softmax(dim=2)
        values = split_heads(self.mapped("value", x), self.heads)
        mixed = (values @ attention).flatten(1, 2).unflatten(2, features.shape[2:])
        return self.mapped("lateral", features) + self.drop_path(mixed), attention
