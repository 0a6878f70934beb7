"""Linear layers with weights in the order in which a CPU's matrix kernels read them, for inference only.

PyTorch's own linear layer hands rows of weights to a general product, which reorders them at every call. For the few
dozen rows that an image's tokens are, that costs a third of the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparsevision.kernels.custom_op import custom_op

# A compiler takes no packed weights into its graph: there, a layer is called by its number.
_numbers = count()
_layers: WeakValueDictionary[int, Any] = WeakValueDictionary()


class PackedLayer(nn.Module):
    """A layer for inference, with a `number` that it can be found by."""

    def __init__(self) -> None:
        super().__init__()
        self.number = next(_numbers)
        _layers[self.number] = self


def layer_of(number: int) -> Any:
    """Returns the packed layer of that number."""
    return _layers[number]


class PackedLinear(PackedLayer):
    """A linear layer whose weight is kept packed and nowhere else, optionally followed by an exact GELU."""

    def __init__(self, linear: nn.Linear, activation: str = "none") -> None:
        super().__init__()
        self.in_features, self.out_features, self.activation = linear.in_features, linear.out_features, activation
        self.reordered = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.bias = None if linear.bias is None else linear.bias.detach().clone()

    def forward(self, x: Float[Tensor, "*batch in_features"]) -> Float[Tensor, "*batch out_features"]:
        """Returns the product with the bias added and the activation applied."""
        return packed_linear(x, self.number, self.out_features)


@custom_op(
    "(Tensor x, int number, int out_features) -> Tensor",
    lambda x, number, out_features: x.new_empty(*x.shape[:-1], out_features, dtype=torch.float32),
)
def packed_linear(x: Tensor, number: int, out_features: int) -> Tensor:
    """Calls the packed layer of that number."""
    layer = layer_of(number)
    algorithm = "none" if layer.activation == "gelu" else ""
    x = x.float()  # under autocast, what comes in may be in half precision
    return torch.ops.mkldnn._linear_pointwise(x, layer.reordered, layer.bias, layer.activation, [], algorithm)


class PackedLinears(nn.Module):
    """Linear layers of the same input, each packed."""

    def __init__(self, layers: Iterable[nn.Linear]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(PackedLinear(layer) for layer in layers)

    def forward(self, x: Float[Tensor, "*batch in_features"]) -> tuple[Tensor, ...]:
        """Returns one tensor (*batch, out_features) for each layer."""
        return tuple(layer(x) for layer in self.layers)


def linear_of(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Makes a layer of a weight (out, in) and a bias (out,)."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
    return linear
