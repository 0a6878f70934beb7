"""The maps that tokenizers, token transformers and projectors are made of: 1x1 convolutions, each with its norm.

The *equation form* is Eqs. 1 to 5 of Visual Transformers (arXiv 2006.03677) as they are printed: one head, no bias, no
norm, nothing scaled, and tokens as wide as the map. The *budget form* is the one whose multiply-adds and parameters are
those of the published tables: a batch norm behind every map, groups, several heads, and logits scaled by their width.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from sparsevision.kernels.dispatch import with_gradient_like
from sparsevision.packing.convolution import packed_with_norm

Form = Literal["equation", "budget"]


class NormedMaps(nn.Module):
    """Base of the parts: every map `name` has a norm `name_norm` behind it in the budget form."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form

    def add_feature_map(self, name: str, width: int, out_width: int, groups: int = 1) -> None:
        """Adds a map of features (B, C, H, W), and the norm behind it."""
        self._add(name, nn.Conv2d(width, out_width, 1, groups=groups, bias=False), MapNorm(out_width))

    def add_token_map(self, name: str, width: int, out_width: int, groups: int = 1) -> None:
        """Adds a map of tokens laid out as (B, C, L), and the norm behind it, whose statistics run over B and L."""
        self._add(name, nn.Conv1d(width, out_width, 1, groups=groups, bias=False), nn.BatchNorm1d(out_width))

    def _add(self, name: str, conv: nn.Module, norm: nn.Module) -> None:
        self.add_module(name, conv)
        self.add_module(f"{name}_norm", norm if self.form == "budget" else nn.Identity())

    def mapped(self, name: str, x: Tensor) -> Tensor:
        """Returns the normed map of x, or x itself where the form has no map of the name."""
        return getattr(self, f"{name}_norm")(getattr(self, name)(x)) if name in self._modules else x

    def packed(self) -> nn.Module:
        """Packs each map with its norm."""
        for name, child in list(self.named_children()):
            norm = getattr(self, f"{name}_norm", None)
            if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(self, name, packed_with_norm(child, norm))
                setattr(self, f"{name}_norm", nn.Identity())
        return self


class MapNorm(nn.BatchNorm2d):
    """A batch norm of features that products with tokens read, whose gradients come channel by channel otherwise."""

    def forward(self, x: Float[Tensor, "batch width h w"]) -> Float[Tensor, "batch width h w"]:
        """Returns the normalised map."""
        return with_gradient_like(x, super().forward(x))


def split_heads(x: Float[Tensor, "batch width places"], heads: int) -> Float[Tensor, "batch heads channels places"]:
    """Cuts channels into consecutive slices, one a head."""
    return x.unflatten(1, (heads, -1))
