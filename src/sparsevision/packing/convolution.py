"""Convolutions with the norm behind them in their weights, packed for a CPU.

No pass over the map is spent on the norm, nor on a ReLU or on the sum with a second map, which the kernel does to what
it has in hand.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from sparsevision.kernels.custom_op import custom_op
from sparsevision.packing.linear import PackedLayer, PackedLinear, layer_of, linear_of


def packed_with_norm(conv: nn.Module, norm: nn.Module) -> nn.Module:
    """Packs a 1x1 convolution of rows, or a convolution of maps, with the norm behind it."""
    return PackedRowConv(conv, norm) if isinstance(conv, nn.Conv1d) else PackedConv(conv, norm)


class PackedRowConv(nn.Module):
    """A 1x1 convolution of rows laid out as (B, C, L), with the norm behind it: a product of rows."""

    def __init__(self, conv: nn.Conv1d, norm: nn.Module) -> None:
        super().__init__()
        weight, bias = fused_with_norm(conv, norm)
        self.groups = conv.groups
        self.whole = None
        if self.groups == 1:
            self.whole = PackedLinear(linear_of(weight.flatten(1), bias))
        else:
            self.parts = weight.flatten(1).unflatten(0, (self.groups, -1)).transpose(1, 2)
            self.bias = bias.unflatten(0, (self.groups, 1, -1))

    def forward(self, x: Float[Tensor, "batch width rows"]) -> Float[Tensor, "batch out_width rows"]:
        """Returns the normalised rows, whose channels lie side by side in memory."""
        rows = x.transpose(1, 2)
        if self.whole is not None:
            return self.whole(rows).transpose(1, 2)
        groups = rows.flatten(0, 1).unflatten(1, (self.groups, -1)).transpose(0, 1)
        found = torch.baddbmm(self.bias, groups.float(), self.parts)
        return found.transpose(0, 1).flatten(1).unflatten(0, rows.shape[:2]).transpose(1, 2)


class PackedConv(PackedLayer):
    """A convolution with the norm behind it, and optionally a ReLU and a second map that is added before that."""

    def __init__(self, conv: Any, norm: nn.Module, *, relu: bool = False) -> None:
        super().__init__()
        weight, self.bias = fused_with_norm(conv, norm)
        self.shape, self.relu = weight.shape, relu
        self.how: list[Any] = [list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups]
        self.reordered = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.how)

    def forward(self, x: Float[Tensor, "batch channels h w"], added: Tensor | None = None) -> Tensor:
        """Returns the map (B, C', H', W'), channels last; `added` is of that shape."""
        return packed_conv(x, added, self.number)


def _blank_map(x: Tensor, added: Tensor | None, number: int) -> Tensor:
    layer = layer_of(number)
    padding, stride, dilation, _ = layer.how
    sides = [
        (x.shape[2 + i] + 2 * padding[i] - dilation[i] * (layer.shape[2 + i] - 1) - 1) // stride[i] + 1 for i in (0, 1)
    ]
    blank = x.new_empty(len(x), *sides, layer.shape[0], dtype=torch.float32)
    return blank.permute(0, 3, 1, 2)


@custom_op("(Tensor x, Tensor? added, int number) -> Tensor", _blank_map)
def packed_conv(x: Tensor, added: Tensor | None, number: int) -> Tensor:
    """Calls the packed convolution of that number."""
    layer = layer_of(number)
    weights = layer.reordered, layer.bias, *layer.how
    x = x.to(torch.float32, memory_format=torch.channels_last)
    if added is None:
        return torch.ops.mkldnn._convolution_pointwise(x, *weights, "relu" if layer.relu else "none", [], "")
    added = added.to(torch.float32, memory_format=torch.channels_last)
    unary = "relu" if layer.relu else None
    return torch.ops.mkldnn._convolution_pointwise.binary(x, added, *weights, "add", 1.0, unary, [], None)


def fused_with_norm(conv: Any, norm: Any) -> tuple[Tensor, Tensor]:
    """Returns weight and bias of a convolution with the fixed statistics of the norm behind it applied."""
    weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    return weight.detach(), bias.detach()
