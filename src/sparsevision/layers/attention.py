"""Multi-head self-attention and the feed-forward network, both with the norm in front."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sparsevision.layers.opaque import opaque
from sparsevision.layers.paths import fast, fast_cpu_inference


@opaque(
    "(Tensor projected, int num_heads, float scale) -> Tensor",
    lambda projected, num_heads, scale: projected.new_empty(*projected.shape[:2], projected.shape[2] // 3),
)
def attend_by_picture(projected: Tensor, num_heads: int, scale: float) -> Tensor:
    """Attends in one picture at a time, tokens on the inner axis: the matrices stay in cache and are wide.

    `projected` (B, N, 3d) holds q, k and v; returns (B, N, d). For inference on a CPU.
    """
    batch, num_tokens, three_widths = projected.shape
    attended = projected.new_empty(batch, num_tokens, three_widths // 3)
    for picture, result in zip(projected, attended, strict=True):
        query, key, value = picture.t().reshape(3, num_heads, -1, num_tokens)
        logits = torch.baddbmm(query.new_zeros(()), key.transpose(1, 2), query, beta=0, alpha=scale)
        weights = logits.softmax(dim=1)
        result.copy_(torch.bmm(value, weights).flatten(0, 1).t())
    return attended


class SelfAttention(nn.Module):
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
        projected = self.qkv(self.norm(tokens))
        if fast_cpu_inference(tokens.device):
            return self.proj(attend_by_picture(projected, self.num_heads, self.scale))
        # Three parts and not one permuted tensor: backward then writes their gradients side by side in one copy.
        query, key, value = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in projected.chunk(3, dim=-1)
        )
        # Dozens of heads of width 4 to 12 are too small for the fused CPU kernel: two batched products are faster.
        if fast() and tokens.device.type == "cpu":
            weights = ((query * self.scale) @ key.transpose(-2, -1)).softmax(dim=-1)
            attended = weights @ value
        else:
            attended = F.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).flatten(-2))


class FeedForward(nn.Module):
    """Pre-norm two-layer network of four times the width, without the residual."""

    def __init__(self, width: int, eps: float, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.activation = activation

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """Returns what the network adds to the tokens."""
        return self.fc2(self.activation(self.fc1(self.norm(tokens))))
