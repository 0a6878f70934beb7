"""Multi-head self-attention and the feed-forward network, both with the norm in front."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sparsevision.kernels.attention import attend_on_cpu, split_projections
from sparsevision.kernels.dispatch import accelerated, fast_on_cpu
from sparsevision.packing.linear import PackedLinear


@accelerated(attend_on_cpu, when=fast_on_cpu)
def attend(
    projected: Float[Tensor, "batch tokens three_widths"], num_heads: int, scale: float
) -> Float[Tensor, "batch tokens width"]:
    """Scaled dot-product attention of every head, from queries, keys and values side by side."""
    query, key, value = split_projections(projected, num_heads)
    attended = F.scaled_dot_product_attention(query, key, value, scale=scale)
    return attended.transpose(1, 2).flatten(-2)


class TokenSelfAttention(nn.Module):
    """Pre-norm multi-head self-attention over tokens, without the residual.

    The fused projection holds q, k, v one after the other, the heads contiguous in each.
    """

    def __init__(self, width: int, num_heads: int, eps: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (width // num_heads) ** -0.5
        self.norm = nn.LayerNorm(width, eps=eps)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """Returns what attention adds to the tokens."""
        return self.proj(attend(self.qkv(self.norm(tokens)), self.num_heads, self.scale))


class TokenFeedForward(nn.Module):
    """Pre-norm two-layer network of four times the width, without the residual."""

    def __init__(self, width: int, eps: float, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps)
        self.fc1: nn.Module = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.activation = activation

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """Returns what the network adds to the tokens."""
        return self.fc2(self.activation(self.fc1(self.norm(tokens))))

    def packed(self) -> TokenFeedForward:
        """Packs the first layer with an exact GELU as part of it."""
        if self.activation is F.gelu and isinstance(self.fc1, nn.Linear):
            self.fc1, self.activation = PackedLinear(self.fc1, "gelu"), nn.Identity()
        return self
