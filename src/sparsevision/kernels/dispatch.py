"""The choice between an operator's two forms: the fast one by default, the plain one as the reference.

The plain form is written as the papers and the released codes compute, beside the other equations of its model; the
fast form gives the same numbers to rounding, and lives in this room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.jit._trace import is_tracing

Operator = TypeVar("Operator", bound=Callable[..., Any])

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


def accelerated(form: Callable[..., Any], *, when: Callable[..., bool]) -> Callable[[Operator], Operator]:
    """Replaces the decorated plain form by `form` in those calls for whose arguments `when` is true."""

    def decorate(plain: Operator) -> Operator:
        @wraps(plain)
        def call(*arguments: Any, **options: Any) -> Any:
            return (form if when(*arguments, **options) else plain)(*arguments, **options)

        return call  # type: ignore[return-value]

    return decorate


# Conditions take an operator's arguments, the first of which is a tensor.


def fast(*_: Any, **__: Any) -> bool:
    """Returns whether fast forms may run: not inside `plain_operators`, and never in an exported or traced graph."""
    return not _plain and not torch.compiler.is_exporting() and not is_tracing()


def fast_on_cpu(tensor: Tensor, *_: Any, **__: Any) -> bool:
    """Returns whether a fast form that pays only on a CPU may run."""
    return fast() and tensor.device.type == "cpu"


def fast_cpu_inference(tensor: Tensor, *_: Any, **__: Any) -> bool:
    """Returns whether a fast form that pays only on a CPU and without gradients may run.

    A compiler runs custom operators without autocast: where there is some, they stay out.
    """
    if not fast_on_cpu(tensor) or torch.is_grad_enabled():
        return False
    return not (torch.compiler.is_compiling() and torch.is_autocast_enabled("cpu"))


def fast_cpu_training(tensor: Tensor, *_: Any, **__: Any) -> bool:
    """Returns whether a fast form with a backward pass of its own may run: eagerly, on a CPU, with gradients."""
    return fast_on_cpu(tensor) and torch.is_grad_enabled() and not torch.compiler.is_compiling()


def sizes_like(tensor: Tensor, sizes: Sequence[int]) -> Tensor:
    """Returns sizes (k,) in a tensor's type; those that an exported graph leaves open stay open."""
    if any(isinstance(size, torch.SymInt) for size in sizes):
        return torch.stack([tensor.new_ones(()) * size for size in sizes])
    return tensor.new_tensor(sizes)


def with_channels_last(images: Tensor) -> Tensor:
    """Returns images (B, C, H, W), or clips (B, C, T, H, W), with the channels of a pixel side by side in memory."""
    layout = torch.channels_last if images.ndim == 4 else torch.channels_last_3d
    return images.contiguous(memory_format=layout)


def channels_last_on_cpu(images: Tensor) -> Tensor:
    """Lays pixels whole in memory, where a CPU's convolutions are faster; the maps then stay so."""
    return with_channels_last(images) if fast_on_cpu(images) else images


def with_gradient_like(x: Tensor, features: Tensor) -> Tensor:
    """Returns `features`, whose gradient comes back in channels-last layout where the map `x` has that layout.

    A CPU's batch norm takes eight times as long over a map and a gradient of different layouts.
    """
    if fast_cpu_training(x) and features.requires_grad and x.is_contiguous(memory_format=torch.channels_last):
        features.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
    return features
