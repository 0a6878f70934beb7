"""Linear layers with weights in the order in which a CPU's matrix kernels read them, for inference only.

PyTorch's own linear layer hands rows of weights to a general product, which reorders them at every call. For the few
dozen rows that a picture's tokens are, that costs a third of the time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sparsevision.layers.attention import FeedForward
from sparsevision.layers.mixing import SplitLinear


class PackedLinear(nn.Module):
    """A linear layer whose weight is kept packed and nowhere else, optionally followed by an exact GELU."""

    def __init__(self, linear: nn.Linear, activation: str = "none") -> None:
        super().__init__()
        self.in_features, self.out_features, self.activation = linear.in_features, linear.out_features, activation
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.bias = None if linear.bias is None else linear.bias.detach().clone()

    def forward(self, x: Float[Tensor, "*batch in_features"]) -> Float[Tensor, "*batch out_features"]:
        """Returns the product with the bias added and the activation applied."""
        algorithm = "none" if self.activation == "gelu" else ""
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, self.activation, [], algorithm)


class PackedSplitLinear(nn.Module):
    """The packed form of `SplitLinear`."""

    def __init__(self, linear: SplitLinear) -> None:
        super().__init__()
        rows = zip(linear.weight.detach().split(linear.parts), linear.bias.detach().split(linear.parts), strict=True)
        self.products = nn.ModuleList(PackedLinear(_linear(weight, bias)) for weight, bias in rows)

    def forward(self, x: Float[Tensor, "*batch in_features"]) -> tuple[Tensor, ...]:
        """Returns one tensor (*batch, part) for each part."""
        return tuple(product(x) for product in self.products)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
    return linear


def can_pack(model: nn.Module) -> bool:
    """Says whether packing is possible and pays: fp32 on a CPU with the kernels that PyTorch brings for it."""
    parameter = next(model.parameters(), None)
    return (
        parameter is not None
        and parameter.device.type == "cpu"
        and parameter.dtype is torch.float32
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


def pack_linear_layers(model: nn.Module) -> bool:
    """Replaces every linear layer of a model, in place, by its packed form; returns False where that cannot be done.

    The model can then neither be trained nor saved: it no longer has the weights as parameters. Numbers agree to
    rounding.
    """
    if not can_pack(model):
        return False
    for parent in list(model.modules()):
        fused = isinstance(parent, FeedForward) and parent.activation is F.gelu
        for name, child in list(parent.named_children()):
            if isinstance(child, SplitLinear):
                setattr(parent, name, PackedSplitLinear(child))
            elif type(child) is nn.Linear:
                setattr(parent, name, PackedLinear(child, "gelu" if fused and name == "fc1" else "none"))
        if fused:
            parent.activation = nn.Identity()
    return True
