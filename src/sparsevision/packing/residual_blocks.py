"""Residual networks of timm's: stems and blocks of convolutions, norms and ReLUs, packed for a CPU."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from timm.layers.drop import DropPath
from timm.models.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from sparsevision.packing.convolution import PackedConv
from sparsevision.packing.folding import FoldedConv, FoldedNorm

_CONVS = (nn.Conv2d, FoldedConv)
_NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d, FoldedNorm)


def pack_residual_blocks(model: nn.Module) -> None:
    """Replaces stems and residual blocks wherever they are in a model, in place."""
    for parent in list(model.modules()):
        if _is_stem(parent):
            stem: Any = parent
            stem.conv1, stem.bn1, stem.act1 = (
                PackedConv(stem.conv1, stem.bn1, activation=nn.ReLU),
                nn.Identity(),
                nn.Identity(),
            )
        for name, child in list(parent.named_children()):
            if _is_plain_block(child):
                setattr(parent, name, PackedResidualBlock(child))


def _is_stem(parent: Any) -> bool:
    """Returns whether a module is a ResNet that begins with a convolution, a norm and a ReLU."""
    found = [getattr(parent, name, None) for name in ("conv1", "bn1", "act1")]
    return hasattr(parent, "layer1") and _are(found, _CONVS, _NORMS, (nn.ReLU,))


def _is_plain_block(module: Any) -> bool:
    """Returns whether a module is a residual block of convolutions, norms and ReLUs, with nothing else that acts."""
    if type(module) not in (BasicBlock, Bottleneck):
        return False
    known = {*_CONVS, *_NORMS, nn.ReLU, nn.Identity, DropPath}
    acting = {type(one) for one in module.modules() if not list(one.children())}
    shortcut = module.downsample
    return acting <= known and (shortcut is None or _are(list(shortcut), _CONVS, _NORMS))


def _are(modules: list[Any], *kinds: tuple[type[nn.Module], ...]) -> bool:
    # Exactly these types: timm has norms that are batch norms with an activation in them.
    return len(modules) == len(kinds) and all(type(one) in kind for one, kind in zip(modules, kinds, strict=True))


class PackedResidualBlock(nn.Module):
    """Convolutions, each with a ReLU, the last one's behind the sum with the shortcut."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        pairs = [
            (getattr(block, f"conv{n}"), getattr(block, f"bn{n}")) for n in (1, 2, 3) if hasattr(block, f"conv{n}")
        ]
        self.convs = nn.ModuleList(
            PackedConv(conv, norm, activation=nn.ReLU, adds=(conv, norm) == pairs[-1]) for conv, norm in pairs
        )
        self.shortcut = None if block.downsample is None else PackedConv(*block.downsample)

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch out h2 w2"]:
        """Returns the block's map."""
        found = x if self.shortcut is None else self.shortcut(x)
        *first, last = self.convs
        for conv in first:
            x = conv(x)
        return last(x, found)
