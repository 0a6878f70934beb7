"""Operators that torch.compile calls as a whole, where taking them apart would make them slower.

A compiler fuses elementwise work well, but it does not know that a product per image stays in cache where one over
the batch does not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, library

Function = Callable[..., Tensor]


def custom_op(schema: str, blank: Function) -> Callable[[Function], Function]:
    """Registers the decorated function as one operator of compiled graphs; elsewhere nothing changes.

    `schema` is the function's signature in PyTorch's operator notation, without a name. `blank` takes the same
    arguments and returns an empty tensor like the result, strides included. No gradient flows through the function.
    """

    def decorate(function: Function) -> Function:
        operator = library.custom_op(f"sparsevision::{function.__name__}", function, mutates_args=(), schema=schema)
        operator.register_fake(blank)

        @wraps(function)
        def call(*arguments: Any) -> Tensor:
            # Outside of a compiler the detour through PyTorch's dispatcher would only cost time.
            return operator(*arguments) if torch.compiler.is_compiling() else function(*arguments)

        return call

    return decorate
