"""Fixed norms as part of the convolutions before them, so that no pass over the maps is spent on them.

A fixed norm is an affine map of each channel, and so is what a convolution adds: its weights times the norm's scale,
with the norm's shift as a bias, give the same maps. Parameters and buffers stay where they are and keep their values;
the product is formed at every call, so that it follows them, and gradients reach the weights through it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.conv2d_same import Conv2dSame, conv2d_same
from timm.layers.norm_act import FrozenBatchNormAct2d
from torch import Tensor, fx, nn
from torchvision.ops import FrozenBatchNorm2d

from sparsevision.kernels.dispatch import fast
from sparsevision.packing.convolution import ACTIVATIONS, PackedConv


class FoldedConv(nn.Conv2d):
    """A convolution without a bias of its own that applies the scale and shift of the fixed norm behind it, too."""

    # In a tuple, the norm does not become part of this module: it stays where it is, under its own name.
    norm: tuple[Any]
    # Whether the map that it gets is turned by 180 degrees, so that its kernel has to be; see `turn_convolutions`.
    turned = False

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch out h2 w2"]:
        """Returns the normalised map."""
        if not fast():
            return super().forward(x)
        norm = self.norm[0]
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight, bias = self.weight * scale.view(-1, 1, 1, 1), norm.bias - norm.running_mean * scale
        if not self.slow_in_half(x):
            return self.convolve(x, weight, bias)
        with torch.autocast("cpu", enabled=False):
            return self.convolve(x.float(), weight, bias).to(torch.get_autocast_dtype("cpu"))

    def slow_in_half(self, x: Tensor) -> bool:
        """Returns whether autocast costs time: on CPUs, strided depthwise gradients in half take 6 times as long."""
        half = x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()
        return half and self.groups == self.in_channels and max(self.stride) > 1

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Convolves as this layer does, with other weights."""
        weight = weight.flip(2, 3) if self.turned and max(self.kernel_size) > 1 else weight
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def even_padding(self) -> tuple[int, ...] | None:
        """Returns the padding of all sides alike, None where it depends on the map."""
        return self.padding if isinstance(self.padding, tuple) else None


class FoldedConvSame(FoldedConv, Conv2dSame):
    """The same for a convolution that pads as TensorFlow does."""

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Pads and convolves as this layer does, with other weights."""
        padding = self.even_padding()
        if padding is not None:
            return F.conv2d(x, weight.flip(2, 3), bias, self.stride, padding, self.dilation, self.groups)
        stride, dilation = _pair(self.stride), _pair(self.dilation)
        return conv2d_same(x, weight, bias, stride, dilation=dilation, groups=self.groups)

    def even_padding(self) -> tuple[int, ...] | None:
        """Returns the padding of all sides alike of a turned map, None of others."""
        if not self.turned:
            return None
        return tuple(extent * (side // 2) for side, extent in zip(self.kernel_size, self.dilation, strict=True))


def _pair(sides: tuple[int, ...]) -> tuple[int, int]:
    return sides[0], sides[1]


class FoldedNorm(FrozenBatchNorm2d):
    """A fixed norm that its convolution has applied already."""

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        """Returns the map as it is."""
        return x if fast() else super().forward(x)


class FoldedNormAct(FrozenBatchNormAct2d):
    """The same for a norm with an activation, which is left to do."""

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        """Returns the activated map."""
        return self.act(self.drop(x)) if fast() else super().forward(x)


_FOLDED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: FoldedConv,
    Conv2dSame: FoldedConvSame,
    FrozenBatchNorm2d: FoldedNorm,
    FrozenBatchNormAct2d: FoldedNormAct,
}


class _Tracer(fx.Tracer):
    """Follows a network's maps from one convolution or norm to the next."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in _FOLDED or super().is_leaf_module(m, module_qualified_name)


def fold_fixed_norms(network: nn.Module) -> int:
    """Lets every convolution whose map a fixed norm alone reads apply that norm; returns how many do.

    The state dict stays what it was. A network that cannot be followed symbolically is left as it is.
    """
    try:
        graph = _Tracer().trace(network)
    except Exception:  # any error of a foreign network's own code on a symbolic map
        return 0
    found = list(_pairs(network, graph))
    for conv, norm in found:
        conv.__class__, norm.__class__ = _FOLDED[type(conv)], _FOLDED[type(norm)]
        conv.norm = (norm,)
    return len(found)


def turn_convolutions(network: nn.Module) -> bool:
    """Lets the folded convolutions of a network work on maps turned by 180 degrees; returns whether they do.

    TensorFlow's padding puts the odd row of zeros behind a map of even sides, which no convolution of PyTorch does
    without a padded copy. In front of the map is where a convolution with strides puts it, so that on turned maps, with
    turned kernels, an even padding on all sides has the same result, for odd sides, too. The network has to be handed
    turned images, and gives turned maps, as long as `fast()` holds. One that has no such convolution, or anything else
    with a window, is left as it is.
    """
    windows: list[Any] = [module for module in network.modules() if hasattr(module, "kernel_size")]
    turns = any(type(each) is FoldedConvSame for each in windows) and all(map(_can_turn, windows))
    for each in windows if turns else ():
        each.turned = True
    return turns


def _can_turn(window: Any) -> bool:
    """Returns whether even padding on a turned map gives what the window gives on the map itself."""
    if not isinstance(window, FoldedConv) or not all(side % 2 for side in window.kernel_size):
        return False
    if max(window.stride) == 1:
        return True
    # Padding alike on all sides, and windows of one pixel, would meet other pixels when they come from the other end.
    return isinstance(window, FoldedConvSame) and max(window.stride) == 2 and min(window.kernel_size) > 1


def pack_folded(network: nn.Module) -> None:
    """Packs folded convolutions for a CPU, in place, with the activations behind them that the kernel knows.

    A turned network then works on turned maps at every call, whether `fast()` holds or not.
    """
    names = {module: name for name, module in network.named_modules()}
    for conv in [module for module in names if isinstance(module, FoldedConv)]:
        norm, padding = conv.norm[0], conv.even_padding()
        if padding is None:
            continue
        activation: nn.Module = norm.act if isinstance(norm, FoldedNormAct) else nn.Identity()
        known = type(activation) in ACTIVATIONS
        packed = PackedConv(
            conv, norm, activation=type(activation) if known else nn.Identity, padding=padding, turned=conv.turned
        )
        network.set_submodule(names[conv], packed)
        network.set_submodule(names[norm], nn.Identity() if known else activation)


def _pairs(network: nn.Module, graph: fx.Graph) -> Iterator[tuple[Any, Any]]:
    """Yields convolutions with their norms, where each is called once and nothing else reads what is between."""
    modules = dict(network.named_modules())
    calls = [id(modules[str(node.target)]) for node in graph.nodes if node.op == "call_module"]
    for node in graph.nodes:
        before = node.args[0] if node.args else None
        if node.op != "call_module" or not isinstance(before, fx.Node) or before.op != "call_module":
            continue
        conv: Any = modules[str(before.target)]
        norm: Any = modules[str(node.target)]
        if type(conv) not in (nn.Conv2d, Conv2dSame) or type(norm) not in (FrozenBatchNorm2d, FrozenBatchNormAct2d):
            continue
        once = calls.count(id(conv)) == calls.count(id(norm)) == 1
        if once and len(before.users) == 1 and conv.bias is None and conv.padding_mode == "zeros":
            yield conv, norm
