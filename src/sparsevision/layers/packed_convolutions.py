"""Convolutions and maps of tokens with the norm behind them in their weights, packed for a CPU, for inference only.

No pass over the map is spent on the norm, nor on a ReLU or on the sum with a residual block's shortcut, which the
kernel does to what it has in hand.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from timm.layers.drop import DropPath
from timm.models.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.ops import FrozenBatchNorm2d

from sparsevision.layers.folding import FoldedConv, FoldedNorm
from sparsevision.layers.opaque import opaque
from sparsevision.layers.packed_layers import PackedLayer, PackedLinear, layer_of, linear_of
from sparsevision.layers.token_maps import MapNorm

_CONVS = (nn.Conv2d, FoldedConv)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, FrozenBatchNorm2d, FoldedNorm, MapNorm)


def pack_convolutions(model: nn.Module) -> None:
    """Replaces a ResNet's stem and residual blocks, and each map `name` with a norm `name_norm` behind it, in place."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            _pack(parent, name, child)


def _pack(parent: Any, name: str, child: Any) -> None:
    norm: Any = getattr(parent, f"{name}_norm", None)
    if _is_plain_block(child):
        setattr(parent, name, PackedBlock(child))
    elif isinstance(child, nn.Conv1d | nn.Conv2d) and type(norm) in _NORMS:
        setattr(parent, name, PackedTokenMap(child, norm) if isinstance(child, nn.Conv1d) else PackedConv(child, norm))
        setattr(parent, f"{name}_norm", nn.Identity())
    elif name == "conv1" and _is_stem(parent):
        parent.conv1, parent.bn1, parent.act1 = PackedConv(child, parent.bn1, relu=True), nn.Identity(), nn.Identity()


def _is_stem(parent: Any) -> bool:
    """Says whether a module is a ResNet that begins with a convolution, a norm and a ReLU."""
    found = [getattr(parent, name, None) for name in ("conv1", "bn1", "act1")]
    return hasattr(parent, "layer1") and _are(found, _CONVS, _NORMS, (nn.ReLU,))


def _is_plain_block(module: Any) -> bool:
    """Says whether a module is a residual block of convolutions, norms and ReLUs, with nothing else that acts."""
    if type(module) not in (BasicBlock, Bottleneck):
        return False
    known = {*_CONVS, *_NORMS, nn.ReLU, nn.Identity, DropPath}
    acting = {type(one) for one in module.modules() if not list(one.children())}
    shortcut = module.downsample
    return acting <= known and (shortcut is None or _are(list(shortcut), _CONVS, _NORMS))


def _are(modules: list[Any], *kinds: tuple[type[nn.Module], ...]) -> bool:
    # Exactly these types: timm has norms that are batch norms with an activation in them.
    return len(modules) == len(kinds) and all(type(one) in kind for one, kind in zip(modules, kinds, strict=True))


class PackedTokenMap(nn.Module):
    """A 1x1 convolution of tokens laid out as (B, C, L), with the norm behind it: a product of rows."""

    def __init__(self, conv: nn.Conv1d, norm: nn.Module) -> None:
        super().__init__()
        weight, bias = _with_norm(conv, norm)
        self.groups = conv.groups
        self.whole = None
        if self.groups == 1:
            self.whole = PackedLinear(linear_of(weight.flatten(1), bias))
        else:
            self.parts = weight.flatten(1).unflatten(0, (self.groups, -1)).transpose(1, 2)
            self.bias = bias.unflatten(0, (self.groups, 1, -1))

    def forward(self, x: Float[Tensor, "batch width tokens"]) -> Float[Tensor, "batch out_width tokens"]:
        """Returns the normalised tokens, whose channels lie side by side in memory."""
        rows = x.transpose(1, 2)
        if self.whole is not None:
            return self.whole(rows).transpose(1, 2)
        groups = rows.flatten(0, 1).unflatten(1, (self.groups, -1)).transpose(0, 1)
        found = torch.baddbmm(self.bias, groups.float(), self.parts)
        return found.transpose(0, 1).flatten(1).unflatten(0, rows.shape[:2]).transpose(1, 2)


class PackedConv(PackedLayer):
    """A convolution with the norm behind it, and optionally a ReLU and a second map that is added before that."""

    def __init__(self, conv: nn.Conv2d, norm: nn.Module, *, relu: bool = False) -> None:
        super().__init__()
        weight, self.bias = _with_norm(conv, norm)
        self.shape, self.relu = weight.shape, relu
        self.how: list[Any] = [list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups]
        self.packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.how)

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


@opaque("(Tensor x, Tensor? added, int number) -> Tensor", _blank_map)
def packed_conv(x: Tensor, added: Tensor | None, number: int) -> Tensor:
    """Calls the packed convolution of that number."""
    layer = layer_of(number)
    weights = layer.packed, layer.bias, *layer.how
    x = x.to(torch.float32, memory_format=torch.channels_last)
    if added is None:
        return torch.ops.mkldnn._convolution_pointwise(x, *weights, "relu" if layer.relu else "none", [], "")
    added = added.to(torch.float32, memory_format=torch.channels_last)
    unary = "relu" if layer.relu else None
    return torch.ops.mkldnn._convolution_pointwise.binary(x, added, *weights, "add", 1.0, unary, [], None)


class PackedBlock(nn.Module):
    """A residual block of timm's: convolutions, each with a ReLU, the last one's behind the sum with the shortcut."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        pairs = [
            (getattr(block, f"conv{n}"), getattr(block, f"bn{n}")) for n in (1, 2, 3) if hasattr(block, f"conv{n}")
        ]
        self.convs = nn.ModuleList(PackedConv(conv, norm, relu=True) for conv, norm in pairs)
        self.shortcut = None if block.downsample is None else PackedConv(*block.downsample)

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch out h2 w2"]:
        """Returns the block's map."""
        found = x if self.shortcut is None else self.shortcut(x)
        *first, last = self.convs
        for conv in first:
            x = conv(x)
        return last(x, found)


def _with_norm(conv: Any, norm: Any) -> tuple[Tensor, Tensor]:
    """Returns weight and bias of a convolution with the fixed statistics of the norm behind it applied."""
    weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    return weight.detach(), bias.detach()
