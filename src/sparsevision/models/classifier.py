"""Base of the classifiers: a check of the input's shape, and gradient checkpointing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
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
            return checkpoint(unit, *inputs, use_reentrant=False, context_fn=partial(_contexts, unit))
        return unit(*inputs)

    def _check_images(self, images: Tensor, expected: int) -> None:
        if images.ndim != 4 or images.shape[1] != expected:
            raise ConfigError(
                f"The model takes images of shape (batch, {expected}, height, width); "
                f"it was given {tuple(images.shape)}."
            )


def _contexts(unit: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _statistics_kept(unit)


@contextmanager
def _statistics_kept(unit: nn.Module) -> Iterator[None]:
    """Has batch norms count into copies, so that recomputing activations does not count a batch a second time."""
    norms = [part for part in unit.modules() if isinstance(part, _BatchNorm)]
    kept = [(norm, name, value) for norm in norms for name, value in norm.named_buffers(recurse=False)]
    for norm, name, value in kept:
        setattr(norm, name, value.clone())
    try:
        yield
    finally:
        for norm, name, value in kept:
            setattr(norm, name, value)


def unit_indices(count: int, indices: int | Sequence[int] | None) -> list[int]:
    """Reads timm's ways to choose blocks: all, the last n, or a list in which negative numbers count from the end."""
    chosen = range(count - indices, count) if isinstance(indices, int) else range(count) if indices is None else indices
    wanted = [index + count if index < 0 and not isinstance(indices, int) else index for index in chosen]
    if not wanted or not all(0 <= index < count for index in wanted):
        raise ConfigError(f"indices is {indices!r}; the model has {count} units, numbered from 0.")
    return wanted
