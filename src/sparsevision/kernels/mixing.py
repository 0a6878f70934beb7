"""Adaptive mixing on a CPU: two products for every token, by matrices of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from sparsevision.kernels.custom_op import custom_op


@custom_op(
    "(Tensor samples, Tensor channel_mix, Tensor point_mix, Tensor? channel_bias, Tensor? point_bias) -> Tensor",
    lambda samples, channel_mix, point_mix, channel_bias, point_bias: channel_mix.new_empty(
        *point_mix.shape[:3], samples.shape[3]
    ),
)
def mix_by_image(
    samples: Tensor, channel_mix: Tensor, point_mix: Tensor, channel_bias: Tensor | None, point_bias: Tensor | None
) -> Tensor:
    """Mixes one image after the other: its samples stay in cache from product to product.

    `samples` (B, N, P, C), `channel_mix` (B, N, C, C), `point_mix` (B, N, P', P); returns (B, N, P', C), in the
    precision of `channel_mix`. For inference on a CPU.
    """
    precision = channel_mix.dtype
    result = channel_mix.new_empty(*point_mix.shape[:3], samples.shape[3])
    parts = (samples.to(precision), channel_mix, point_mix.to(precision), result)
    if channel_bias is not None and point_bias is not None:
        channel_bias, point_bias = channel_bias.to(precision), point_bias.to(precision).unsqueeze(-1)
    # Autocast converts what is given to a product, but not where its result is to be written.
    with torch.autocast("cpu", enabled=False):
        for read, channels, points, place in zip(*parts, strict=True):
            if channel_bias is None or point_bias is None:
                torch.bmm(points, torch.bmm(read, channels), out=place)
            else:
                mixed = torch.ops.aten.gelu_(torch.baddbmm(channel_bias, read, channels))
                torch.baddbmm(point_bias, points, mixed, out=place)
            torch.ops.aten.gelu_(place)
    return result
