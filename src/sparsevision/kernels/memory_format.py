"""Memory layouts of feature maps in which a CPU's convolutions and norms are fast."""

from __future__ import annotations

import torch
from torch import Tensor

from sparsevision.kernels.dispatch import fast_cpu_training, fast_on_cpu


def channels_last_on_cpu(images: Tensor) -> Tensor:
    """Lays pixels whole in memory, where a CPU's convolutions are faster; the maps then stay so."""
    return images.contiguous(memory_format=torch.channels_last) if fast_on_cpu(images) else images


def with_gradient_like(x: Tensor, features: Tensor) -> Tensor:
    """Returns `features`, whose gradient comes back in channels-last layout where the map `x` has that layout.

    A CPU's batch norm takes eight times as long over a map and a gradient of different layouts.
    """
    if fast_cpu_training(x) and features.requires_grad and x.is_contiguous(memory_format=torch.channels_last):
        features.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
    return features
