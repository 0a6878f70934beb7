"""Tokenizers: a feature map pooled into a few visual tokens, each a weighted mean over the image (Section 3.1).

All take features (B, C, H, W) and the tokens (B, L, C_T) of the module before, where there is one, and return tokens
(B, L, C_T) with the weights (B, heads, L, H * W) that they were pooled by, or None where there are none.
"""

from __future__ import annotations

from math import isqrt
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sparsevision.models.visual_transformer.token_maps import Form, NormedMaps, split_heads

Renewal = Literal["full", "half"]
Tokens = Float[Tensor, "batch tokens token_width"]
Weights = Float[Tensor, "batch heads tokens pixels"]


class VisualTokenizer(NormedMaps):
    """Base of the tokenizers: a value map, the weighted mean, and a map to the tokens' width.

    The equation form pools the features as they are. In the budget form the value map may be left out (VT-FPN), and
    the token map is where tokens are as wide as features.
    """

    def __init__(self, width: int, token_width: int, form: Form, *, groups: int = 1, value: bool = True) -> None:
        super().__init__(form)
        if form == "budget" and value:
            self.add_feature_map("value", width, width, groups)
        if form == "budget" and width != token_width:
            self.add_token_map("token", width, token_width)

    def forward(
        self, features: Float[Tensor, "batch width height width_"], previous: Tokens | None = None
    ) -> tuple[Tokens, Weights | None]:
        """Returns tokens and the weights that they were pooled by."""
        weights = self.weigh(features, previous)
        values = self.mapped("value", features).flatten(2)
        pooled = (split_heads(values, weights.shape[1]) @ weights.transpose(2, 3)).flatten(1, 2)
        return self.mapped("token", pooled).transpose(1, 2), weights

    def weigh(self, features: Tensor, previous: Tokens | None) -> Weights:
        """Returns every token's weights, which sum to one over the pixels."""
        raise NotImplementedError


class FilterTokenizer(VisualTokenizer):
    """Each token has a filter of its own, which is the same for every image (Eq. 1)."""

    def __init__(
        self, width: int, token_width: int, *, num_tokens: int, form: Form, groups: int = 1, value: bool = True
    ) -> None:
        super().__init__(width, token_width, form, groups=groups, value=value)
        self.coef = nn.Conv2d(width, num_tokens, 1, bias=False)
        self.scale = width**-0.5 if form == "budget" else 1.0

    def weigh(self, features: Tensor, previous: Tokens | None) -> Weights:
        """Returns the softmax over the pixels of the filters' answers."""
        return (self.coef(features).flatten(2) * self.scale).softmax(dim=-1).unsqueeze(1)


class RecurrentTokenizer(VisualTokenizer):
    """Filters made from the tokens of the module before (Eq. 2)."""

    def __init__(
        self, width: int, token_width: int, form: Form, *, heads: int = 1, groups: int = 1, renewal: Renewal = "full"
    ) -> None:
        super().__init__(width, token_width, form, groups=groups)
        self.heads, self.renewal = heads, renewal
        self.add_token_map("query", token_width, width)
        if form == "budget":
            self.add_feature_map("key", width, width, groups)
        self.scale = (width // heads) ** -0.5 if form == "budget" else 1.0

    def forward(
        self, features: Tensor, previous: Tokens | None = None
    ) -> tuple[Tokens, Float[Tensor, "batch heads renewed pixels"] | None]:
        """Returns new tokens; with half renewal, the second half of the old ones first, and as many new ones behind."""
        assert previous is not None, "a recurrent tokenizer needs the tokens of the module before"
        if self.renewal == "full":
            return super().forward(features, previous)
        half = previous.shape[1] // 2
        tokens, weights = super().forward(features, previous[:, :half])
        return torch.cat([previous[:, half:], tokens], dim=1), weights

    def weigh(self, features: Tensor, previous: Tokens | None) -> Weights:
        """Returns the softmax over the pixels of the products of queries and keys."""
        assert previous is not None
        queries = split_heads(self.mapped("query", previous.transpose(1, 2)), self.heads)
        keys = split_heads(self.mapped("key", features).flatten(2), self.heads)
        return (queries.transpose(2, 3) @ keys * self.scale).softmax(dim=-1)


class PoolingTokenizer(VisualTokenizer):
    """The map scaled down to one pixel a token (an ablation of Table 3)."""

    def __init__(self, width: int, token_width: int, *, num_tokens: int, form: Form) -> None:
        super().__init__(width, token_width, form, value=False)
        self.num_tokens = num_tokens

    def forward(self, features: Tensor, previous: Tokens | None = None) -> tuple[Tokens, None]:
        """Returns the cells' tokens, row by row."""
        pooled = scaled_down(features, self.num_tokens)
        return self.mapped("token", pooled).transpose(1, 2), None


class ClusteringTokenizer(VisualTokenizer):
    """Weights from the centroids that k-means finds among the pixels of the image (an ablation of Table 3)."""

    def __init__(
        self, width: int, token_width: int, *, num_tokens: int, form: Form, groups: int = 1, iterations: int = 1
    ) -> None:
        super().__init__(width, token_width, form, groups=groups)
        self.num_tokens, self.iterations = num_tokens, iterations
        self.scale = width**-0.5 if form == "budget" else 1.0

    def weigh(self, features: Tensor, previous: Tokens | None) -> Weights:
        """Returns the softmax over the pixels of their products with the centroids."""
        centroids = k_means(features.detach(), self.num_tokens, self.iterations).to(features.dtype)
        return (centroids.transpose(1, 2) @ features.flatten(2) * self.scale).softmax(dim=-1).unsqueeze(1)


@torch.no_grad()
def k_means(
    features: Float[Tensor, "batch width height width_"], count: int, iterations: int
) -> Float[Tensor, "batch width count"]:
    """Finds centroids of an image's pixels on the unit sphere.

    They start as the map scaled down. In every iteration each pixel goes to its nearest centroid (of equals the
    first), and a centroid becomes the normalised mean of its pixels; one without any stays. Half precision is left
    for float: there equals would be many, and a cell of zeros would have no direction.
    """
    with torch.autocast(features.device.type, enabled=False):
        return _centroids(features.to(torch.promote_types(features.dtype, torch.float32)), count, iterations)


def _centroids(features: Tensor, count: int, iterations: int) -> Tensor:
    pixels = F.normalize(features.flatten(2), dim=1)
    centroids = F.normalize(scaled_down(features, count), dim=1)
    for _ in range(iterations):
        nearest = (centroids.transpose(1, 2) @ pixels).argmax(dim=1)
        members = F.one_hot(nearest, count).to(pixels.dtype)
        sums = F.normalize(pixels @ members, dim=1)
        centroids = torch.where(members.sum(dim=1, keepdim=True) > 0, sums, centroids)
    return centroids


def scaled_down(features: Float[Tensor, "batch width height width_"], count: int) -> Float[Tensor, "batch width count"]:
    """Reads a map bilinearly at the cells of the squarest grid of `count` cells, row by row."""
    rows = next(rows for rows in range(isqrt(count), 0, -1) if count % rows == 0)
    grid = (rows, count // rows)
    return F.interpolate(features, size=grid, mode="bilinear", align_corners=False).flatten(2)
