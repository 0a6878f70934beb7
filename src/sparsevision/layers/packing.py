"""Makes a model one for inference only: weights packed for a CPU's kernels, norms part of the layers before them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from sparsevision.layers.attention import FeedForward
from sparsevision.layers.mixing import SplitLinear
from sparsevision.layers.packed_layers import PackedLinear, PackedSplitLinear

_KERNELS = ("_linear_pointwise", "_reorder_linear_weight", "_convolution_pointwise", "_reorder_convolution_weight")


def can_pack(model: nn.Module) -> bool:
    """Says whether packing is possible and pays: fp32 on a CPU with the kernels that PyTorch brings for it."""
    parameter = next(model.parameters(), None)
    return (
        parameter is not None
        and parameter.device.type == "cpu"
        and parameter.dtype is torch.float32
        and torch.backends.mkldnn.is_available()
        and all(hasattr(torch.ops.mkldnn, name) for name in _KERNELS)
    )


def pack_weights(model: nn.Module) -> bool:
    """Replaces layers of a model, in place, by their packed form; returns False where that cannot be done.

    The model can then neither be trained nor saved: it no longer has the weights as parameters. Numbers agree to
    rounding.
    """
    if not can_pack(model):
        return False
    for parent in list(model.modules()):
        fused = isinstance(parent, FeedForward) and parent.activation is F.gelu
        for name, child in list(parent.named_children()):
            if isinstance(child, SplitLinear):
                setattr(parent, name, PackedSplitLinear(child))
            elif type(child) is nn.Linear:
                setattr(parent, name, PackedLinear(child, "gelu" if fused and name == "fc1" else "none"))
        if fused:
            parent.activation = nn.Identity()
    if any(hasattr(module, "running_mean") for module in model.modules()):
        # Not above: a model without such norms predicts without waiting for timm.
        from sparsevision.layers.packed_convolutions import pack_convolutions

        pack_convolutions(model)
    # What is left of the parameters must not ask a compiler for a backward pass that there is not.
    model.requires_grad_(False)
    return True
