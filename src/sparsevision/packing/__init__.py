"""Models for predicting only: weights packed for a CPU's kernels, norms folded into the layers before them.

Modules that have a packed form of their own offer it as `packed()`, which returns it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sparsevision.packing.linear import PackedLayer, PackedLinear

_KERNELS = ("_linear_pointwise", "_reorder_linear_weight", "_convolution_pointwise", "_reorder_convolution_weight")


def can_pack(model: nn.Module) -> bool:
    """Returns whether packing is possible and pays: fp32 on a CPU with the kernels that PyTorch brings for it."""
    parameter = next(model.parameters(), None)
    return (
        parameter is not None
        and parameter.device.type == "cpu"
        and parameter.dtype is torch.float32
        and torch.backends.mkldnn.is_available()
        and all(hasattr(torch.ops.mkldnn, name) for name in _KERNELS)
    )


def is_packed(model: nn.Module) -> bool:
    """Returns whether `pack_weights` has replaced layers of a model."""
    return any(isinstance(module, PackedLayer) for module in model.modules())


def pack_weights(model: nn.Module) -> bool:
    """Replaces layers of a model, in place, by their packed form; returns False where that cannot be done.

    The model can then neither be trained nor saved: it no longer has the weights as parameters. Numbers agree to
    rounding.
    """
    if not can_pack(model):
        return False
    if any(hasattr(module, "running_mean") for module in model.modules()):
        # Not at the top: a model without such norms predicts without waiting for timm.
        from sparsevision.packing.residual_blocks import pack_residual_blocks

        pack_residual_blocks(model)
    _pack_children(model)
    # The parameters that are left must not make a compiler build a backward pass, which there is not.
    model.requires_grad_(False)
    return True


def _pack_children(parent: nn.Module) -> None:
    for name, child in list(parent.named_children()):
        packed = _packed(child)
        if packed is not child:
            setattr(parent, name, packed)
        _pack_children(packed)


def _packed(module: Any) -> nn.Module:
    if hasattr(module, "packed"):
        offered: nn.Module = module.packed()
        return offered
    return PackedLinear(module) if type(module) is nn.Linear else module
