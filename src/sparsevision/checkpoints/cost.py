"""Memory and time that a stranger's model would take, found out on shapes alone before anything is allocated."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sparsevision.errors import CheckpointError, first_line
from sparsevision.limits import mebibytes

MEMORY_VARIABLE = "SPARSEVISION_MODEL_MEBIBYTES"
# Of one image. A detector with its input of 800 x 1333 takes 1.3 GiB in the plain form of its operators, and half a
# tera operation; the largest classifiers that are published take 4 tera operations, in 2,000 steps.
_MEBIBYTES, _MOST_OPERATIONS, _MOST_CALLS = 2048, 10**13, 20_000
# Tables of constants that no file holds, as the windows of Swin's attention: some megabytes in all published models.
_MOST_TABLES = 256 << 20


def check_cost(model: nn.Module, shape: Sequence[int], origin: str) -> None:
    """Raises CheckpointError for a model on the meta device that takes far more for an image than published ones do.

    Args:
        model: the model, on the meta device.
        shape: of one image (C, H, W), or of one clip (C, T, H, W).
        origin: where the model came from, for the message.
    """
    state = model.state_dict()
    tables = sum(_bytes_of(buffer) for name, buffer in model.named_buffers() if name not in state)
    if tables > _MOST_TABLES:
        raise CheckpointError(
            f"The model in {origin} needs {tables >> 20:,} MiB of tables beside its weights, which no published model "
            "does: lower window_size or img_size."
        )
    settings, shown = _sizes_of(model), _shown(shape)
    meter = _Meter()
    try:
        with torch.no_grad(), meter, _FusedAttention(meter):
            model.eval()(torch.empty(1, *shape, device="meta"))
    except _TooMuchError as error:
        raise CheckpointError(
            f"The model in {origin} needs {error} for {shown}, far more than any "
            f"published model: lower the size of its preprocessing{settings}."
        ) from error
    except (NotImplementedError, AttributeError):
        return  # an operator without a form for shapes alone
    # Models raise nearly anything for images of another size than theirs.
    except Exception as error:
        if "meta" in str(error):
            return  # it asks for values, and there are none
        raise CheckpointError(
            f"The model in {origin} does not take {shown}, which its preprocessing "
            f"makes ({first_line(error)}): correct their size."
        ) from error


def _shown(shape: Sequence[int]) -> str:
    height, width = shape[-2:]
    kind = "an image" if len(shape) == 3 else f"a clip of {shape[1]} frames"
    return f"{kind} of {height} x {width} pixels"


def _sizes_of(model: Any) -> str:
    """Names the fields of a configuration that costs grow with."""
    named = (
        *("num_tokens", "inflation", "num_queries", "keep_ratio", "kmeans_iterations"),
        *("focusing_repeats", "num_points"),
    )
    config = getattr(model, "config", None)
    given = [f"{name} ({getattr(config, name)})" for name in named if hasattr(config, name)]
    return f", or {', '.join(given)}" if given else ""


def _bytes_of(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()


class _TooMuchError(Exception):
    """What is needed too much of."""


class _Meter(TorchDispatchMode):
    """Adds up the bytes of the results that are alive, and the operations of convolutions and matrix products."""

    def __init__(self) -> None:
        # Imported where it is needed: it takes a second, and registered models are known without it.
        from torch.utils.flop_counter import flop_registry

        super().__init__()
        self.counts: Mapping[Any, Any] = flop_registry
        self.most = mebibytes(MEMORY_VARIABLE, _MEBIBYTES) << 20
        self.bytes, self.operations, self.calls = 0, 0, 0
        self.users: Counter[int] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Runs an operator and counts it."""
        result = func(*args, **(kwargs or {}))
        self.calls += 1
        if (count := self.counts.get(func._overloadpacket)) is not None:
            self.operations += count(*args, **(kwargs or {}), out_val=result)
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._keep(tensor)
        self.check()
        return result

    def check(self) -> None:
        """Raises _TooMuchError as soon as any bound is passed."""
        if self.bytes > self.most:
            raise _TooMuchError(f"{self.bytes >> 20:,} MiB of memory ({MEMORY_VARIABLE} allows more)")
        if self.operations > _MOST_OPERATIONS or self.calls > _MOST_CALLS:
            raise _TooMuchError(f"{max(self.operations // 10**9, 1):,} billion operations in {self.calls:,} steps")

    def _keep(self, tensor: Tensor) -> None:
        storage, size = tensor.untyped_storage()._cdata, _bytes_of(tensor)
        # Views share the memory of what they view, until the last of them is gone.
        self.bytes += size if not self.users[storage] else 0
        self.users[storage] += 1
        weakref.finalize(tensor, self._release, storage, size)

    def _release(self, storage: int, size: int) -> None:
        self.users[storage] -= 1
        self.bytes -= size if not self.users[storage] else 0


class _FusedAttention(TorchFunctionMode):
    """Attention without a mask never forms its weights where models run; on shapes alone torch would form them."""

    def __init__(self, meter: _Meter) -> None:
        super().__init__()
        self.meter = meter

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Answers attention with its result's shape, and everything else as torch does."""
        given = dict(kwargs or {})
        if func is not F.scaled_dot_product_attention or len(args) > 3 or given.get("attn_mask") is not None:
            return func(*args, **given)
        query, key, value = (*args, *(given[name] for name in ("query", "key", "value")[len(args) :]))
        self.meter.operations += 2 * query[..., 0].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])
        return query.new_empty(*query.shape[:-1], value.shape[-1])
