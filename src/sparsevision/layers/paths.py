"""Which of an operator's two forms runs: the fast one by default, the plain one as the reference.

Both forms stand side by side behind one function. The plain form is written as the papers and the released codes
compute; the fast form gives the same numbers to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

# A module global and not a context variable: torch.compile guards on it and recompiles when it changes.
_plain = False


@contextmanager
def plain_operators() -> Iterator[None]:
    """Runs the plain form of every operator inside the block (also while tracing or compiling in it)."""
    global _plain
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before


def fast() -> bool:
    """Says whether fast forms may run: not inside `plain_operators`, and never in an exported graph."""
    return not _plain and not torch.compiler.is_exporting()


def fast_cpu_inference(device: torch.device) -> bool:
    """Says whether a fast form that pays only on a CPU and without gradients may run.

    A compiler runs operators that it does not look into without autocast: where there is some, they stay out.
    """
    if not fast() or device.type != "cpu" or torch.is_grad_enabled():
        return False
    return not (torch.compiler.is_compiling() and torch.is_autocast_enabled("cpu"))


def fast_cpu_training(device: torch.device) -> bool:
    """Says whether a fast form with a backward pass of its own may run: eagerly, on a CPU, with gradients."""
    return fast() and device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()


def channels_last_on_cpu(images: Tensor) -> Tensor:
    """Lays pixels whole in memory, where a CPU's convolutions are faster; the maps then stay so."""
    if images.device.type != "cpu" or not fast():
        return images
    return images.contiguous(memory_format=torch.channels_last)
