"""Precision inside networks: coordinates in fp32 at least, whatever the weights are in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from sparsevision.outputs import at_least_single

__all__ = ["at_least_single", "autocasts", "like_weights", "without_autocast"]


def autocasts(tensor: Tensor) -> bool:
    """Returns whether autocast chooses the precision of operations on a tensor's device."""
    kind = tensor.device.type
    return kind != "meta" and torch.is_autocast_enabled(kind)  # autocast knows no such device


def without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """Returns a context in which operations have the precision of their inputs."""
    return torch.autocast(tensor.device.type, enabled=False) if autocasts(tensor) else nullcontext()


def like_weights(tensor: Tensor, other: Tensor) -> Tensor:
    """Returns a tensor in the precision of another one that weights were applied to; autocast decides for itself."""
    return tensor if autocasts(tensor) else tensor.to(other.dtype)
