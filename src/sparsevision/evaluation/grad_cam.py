"""Grad-CAM (Selvaraju et al. 2017) for any network with a convolutional feature map, as a map to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparsevision.errors import ConfigError


def grad_cam(model: nn.Module, layer: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Returns (B, H, W) in 0..1: how much each place of a layer's features contributes to the target class.

    Args:
        model: turns normalised images (B, C, H, W) into logits (B, K); its mode and gradients are left as they are.
        layer: the module whose output (B, D, h, w) is explained, usually the last one before pooling.
        images, targets: (B, C, H, W), and (B,) class indices.

    Raises:
        ConfigError: the layer does not run, or its output has no height and width.
    """
    kept: list[Any] = []
    handle = layer.register_forward_hook(lambda _, __, output: kept.append(output))
    try:
        with torch.enable_grad():
            # The inputs ask for gradients so that frozen networks have a graph, too.
            logits = model(images.detach().requires_grad_())
            features = _feature_map(kept)
            chosen = logits.gather(1, targets.to(logits.device)[:, None]).sum()
            (gradient,) = torch.autograd.grad(chosen, features)
    finally:
        handle.remove()
    weights = gradient.mean((2, 3), keepdim=True)
    heat = (weights * features).sum(1, keepdim=True).relu().detach()
    heat = F.interpolate(heat, images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    return heat / heat.amax((1, 2), keepdim=True).clamp_min(torch.finfo(heat.dtype).tiny)


def _feature_map(kept: list[Tensor]) -> Tensor:
    if not kept:
        raise ConfigError("The layer chosen for Grad-CAM did not run in the model's forward pass.")
    if not isinstance(kept[-1], Tensor) or kept[-1].ndim != 4:
        shape = tuple(getattr(kept[-1], "shape", ()))
        raise ConfigError(f"Grad-CAM needs a layer with features of shape (B, D, h, w); received {shape}.")
    return kept[-1]
