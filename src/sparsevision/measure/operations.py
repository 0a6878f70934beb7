"""Multiply-adds of a forward pass, counted operator by operator on shapes alone.

Counted are convolutions and matrix products, by `torch.utils.flop_counter` (which counts a multiplication and an
addition as two; halved here). Norms, activations, softmax and pooling are elementwise and not counted, as is the
custom; the numbers that sampling reads and norms produce are given beside, for those who count them too. Our models are
counted on their plain path: a fused form does the same work under names that no counter knows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import prod
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sparsevision.kernels.dispatch import plain_operators
from sparsevision.models.published import OperationCount

_BATCHED_PRODUCTS = ("bmm", "baddbmm")
_SAMPLING, _NORMS = ("grid_sampler_2d", "grid_sampler_3d"), ("native_layer_norm", "native_group_norm")
_TALLIED = (*_SAMPLING, *_NORMS)


def count_macs(model: nn.Module, input_shape: tuple[int, ...]) -> OperationCount:
    """Counts the multiply-adds of one forward pass in evaluation mode; nothing is computed, whatever the size.

    `input_shape` is (channels, height, width) of one image, (channels, frames, height, width) of one clip, or has the
    batch in front. The model may live on any device, the meta device included. It is left as it was.
    """
    axes = getattr(getattr(model, "config", None), "axes", 2)
    shape = input_shape if len(input_shape) >= 2 + axes else (1, *input_shape)
    dtype = next((parameter.dtype for parameter in model.parameters()), torch.float32)
    counter = FlopCounterMode(display=False, custom_mapping=_tallies())
    with FakeTensorMode(allow_non_fake_inputs=True), _countable(model), torch.no_grad():
        # Shapes that claim to lie on the CPU: models ask their tensors' device, and some operators know no "meta".
        named = [*model.named_parameters(), *model.named_buffers()]
        stand_ins = {name: torch.empty(tensor.shape, dtype=tensor.dtype) for name, tensor in named}
        images = torch.empty(shape, dtype=dtype)
        with counter:
            functional_call(model, stand_ins, (images,))
    by_module = counter.get_flop_counts()
    by_kind = _halved(by_module.get("Global", {}))
    by_part = {name: _part(by_module, f"{type(model).__name__}.{name}", part) for name, part in model.named_children()}
    sampled, normalised = (sum(by_kind.pop(kind, 0) for kind in kinds) for kinds in (_SAMPLING, _NORMS))
    return OperationCount(
        total=sum(by_kind.values()), mixing=_mixing_products(model, by_module), by_kind=by_kind, by_part=by_part,
        sampled=sampled, normalised=normalised,
    )  # fmt: skip


def _part(by_module: Mapping[str, Mapping[Any, int]], name: str, part: nn.Module) -> int:
    """Returns the multiply-adds of a part of the model; of one that is never called itself, of those inside."""
    if name not in by_module:
        return sum(_part(by_module, f"{name}.{inside}", child) for inside, child in part.named_children())
    return sum(count for kind, count in _halved(by_module[name]).items() if kind not in _TALLIED)


def _tallies() -> dict[Any, Any]:
    """Rules that count the numbers of operators for which the counter has none, doubled as it doubles."""

    def first(shape: tuple[int, ...], *_: Any, **__: Any) -> int:
        return 2 * prod(shape)

    def result(*_: Any, out_shape: tuple[int, ...], **__: Any) -> int:
        return 2 * prod(out_shape)

    aten = torch.ops.aten
    samplers = dict.fromkeys((aten.grid_sampler_2d, aten.grid_sampler_3d), result)
    return {**samplers, **dict.fromkeys((aten.native_layer_norm, aten.native_group_norm), first)}


def _halved(counts: Mapping[Any, int]) -> dict[str, int]:
    return {_kind(operator): count // 2 for operator, count in counts.items()}


def _kind(operator: Any) -> str:
    return str(operator).removeprefix("aten.")


def _mixing_products(model: nn.Module, by_module: Mapping[str, Mapping[Any, int]]) -> int:
    root = type(model).__name__
    mixings = [f"{root}.{name}" for name, module in model.named_modules() if hasattr(module, "generates_matrices")]
    counts = [(_kind(operator), count) for name in mixings for operator, count in by_module.get(name, {}).items()]
    return sum(count // 2 for kind, count in counts if kind in _BATCHED_PRODUCTS)


@contextmanager
def _countable(model: nn.Module) -> Iterator[None]:
    """Makes models take the operators that the counter has rules for: no fused attention, no fast paths, no dropout."""
    # Logs every shape error at length before raising it.
    log = logging.getLogger("torch._subclasses.fake_tensor")
    attention = torch.backends.mha
    with ExitStack() as stack:
        stack.enter_context(plain_operators())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.callback(model.train, model.training)
        stack.callback(log.setLevel, log.level)
        stack.callback(attention.set_fastpath_enabled, attention.get_fastpath_enabled())
        model.eval()
        log.setLevel(logging.CRITICAL)
        attention.set_fastpath_enabled(False)
        yield
