"""What the classifiers share: the check of what they are given, and recomputing activations instead of keeping them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sparsevision.errors import ConfigError


class Classifier(nn.Module):
    """A network of units that are run one after another, on images (B, C, H, W)."""

    grad_checkpointing = False

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recomputes each unit's activations in the backward pass instead of keeping them."""
        self.grad_checkpointing = enable

    def _run(self, unit: nn.Module, *inputs: Any) -> Any:
        if self.grad_checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(unit, *inputs, use_reentrant=False)
        return unit(*inputs)

    def _check_images(self, images: Tensor, expected: int) -> None:
        if images.ndim != 4 or images.shape[1] != expected:
            raise ConfigError(
                f"The model takes images of shape (batch, {expected}, height, width); "
                f"it was given {tuple(images.shape)}."
            )
