"""Self-attention of a few dozen narrow heads on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from sparsevision.kernels.custom_op import custom_op
from sparsevision.kernels.dispatch import fast_cpu_inference


@custom_op(
    "(Tensor projected, int num_heads, float scale) -> Tensor",
    lambda projected, num_heads, scale: projected.new_empty(*projected.shape[:2], projected.shape[2] // 3),
)
def attend_by_image(projected: Tensor, num_heads: int, scale: float) -> Tensor:
    """Attends in one image at a time, tokens on the inner axis: the matrices stay in cache and are wide.

    `projected` (B, N, 3d) holds q, k and v; returns (B, N, d). For inference on a CPU.
    """
    batch, num_tokens, three_widths = projected.shape
    attended = projected.new_empty(batch, num_tokens, three_widths // 3)
    for image, result in zip(projected, attended, strict=True):
        query, key, value = image.t().reshape(3, num_heads, -1, num_tokens)
        logits = torch.baddbmm(query.new_zeros(()), key.transpose(1, 2), query, beta=0, alpha=scale)
        weights = logits.softmax(dim=1)
        result.copy_(torch.bmm(value, weights).flatten(0, 1).t())
    return attended


def attend_on_cpu(projected: Tensor, num_heads: int, scale: float) -> Tensor:
    """Attends image by image in inference, else by two batched products.

    Dozens of heads of width 4 to 12 are too small for the fused CPU kernel.
    """
    if fast_cpu_inference(projected):
        return attend_by_image(projected, num_heads, scale)
    query, key, value = split_projections(projected, num_heads)
    weights = ((query * scale) @ key.transpose(-2, -1)).softmax(dim=-1)
    return (weights @ value).transpose(1, 2).flatten(-2)


def split_projections(projected: Tensor, num_heads: int) -> tuple[Tensor, ...]:
    """Splits (B, N, 3d) into queries, keys and values (B, heads, N, d / heads).

    Three parts and not one permuted tensor: backward then writes their gradients side by side in one copy.
    """
    return tuple(part.unflatten(-1, (num_heads, -1)).transpose(1, 2) for part in projected.chunk(3, dim=-1))
