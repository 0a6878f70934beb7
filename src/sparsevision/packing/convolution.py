"""Convolutions with the norm behind them in their weights, packed for a CPU.

No pass over the map is spent on the norm, nor on an activation or on the sum with a second map, which the kernel does
to what it has in hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


# Activations that the kernel knows, by its names and with its constants.
ACTIVATIONS: Mapping[type[nn.Module], tuple[str, list[float]]] = {
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}


class PackedConv(PackedLayer):
    """A convolution with the norm behind it, optionally one of `ACTIVATIONS`, and a second map to add before that.

    One of 1x1 that adds nothing is a product of rows: for sizes that they do not expect, convolutions with packed
    weights of 1x1 take up to 25 times as long. `adds` says that there will be a second map.

    `padding` (rows, columns) is the convolution's own where it is not given. `turned`: it works on maps turned by 180
    degrees, so its kernel is turned, too.
    """

    def __init__(
        self, conv: Any, norm: nn.Module, *, activation: type[nn.Module] = nn.Identity,
        padding: Sequence[int] | None = None, turned: bool = False, adds: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        weight, self.bias = fused_with_norm(conv, norm)
        self.shape, self.activation = weight.shape, ACTIVATIONS[activation]
        self.how: list[Any] = [list(padding or conv.padding), list(conv.stride), list(conv.dilation), conv.groups]
        self.rows = not adds and weight.shape[2:] == (1, 1) and conv.groups == 1 and not any(self.how[0])
        if self.rows:
            self.reordered = torch.ops.mkldnn._reorder_linear_weight(weight.flatten(1))
        else:
            weight = weight.flip(2, 3) if turned else weight
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
    if layer.rows:
        down, across = layer.how[1]
        rows = x[:, :, ::down, ::across].permute(0, 2, 3, 1)
        found = torch.ops.mkldnn._linear_pointwise(rows, layer.reordered, layer.bias, *layer.activation, "")
        return found.permute(0, 3, 1, 2)
    if added is None:
        return torch.ops.mkldnn._convolution_pointwise(x, *weights, *layer.activation, "")
    added = added.to(torch.float32, memory_format=torch.channels_last)
    name, constants = layer.activation
    unary = None if name == "none" else name
    return torch.ops.mkldnn._convolution_pointwise.binary(x, added, *weights, "add", 1.0, unary, constants, None)


def fused_with_norm(conv: Any, norm: Any) -> tuple[Tensor, Tensor]:
    """Returns weight and bias of a convolution with the fixed statistics of the norm behind it applied."""
    weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    return weight.detach(), bias.detach()
