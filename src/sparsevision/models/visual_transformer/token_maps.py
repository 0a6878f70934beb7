"""The maps that tokenizers, token transformers and projectors are made of: 1x1 convolutions, each with its norm.

The *equation form* is Eqs. 1 to 5 of Visual Transformers (arXiv 2006.03677) as they are printed: one head, no bias, no
norm, nothing scaled, and tokens as wide as the map. The *budget form* is the one whose multiply-adds and parameters are
those of the published tables: a batch norm behind every map, groups, several heads, and logits scaled by their width.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from sparsevision.kernels.memory_format import with_gradient_like
from sparsevision.packing.convolution import packed_with_norm

Form = Literal["equation", "budget"]


class NormedMaps(nn.Module):
    """Base of the parts: every map `name` may have a norm `name_norm` behind it."""

    def packed(self) -> NormedMaps:
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


def feature_map(form: Form, width: int, out_width: int, groups: int = 1) -> tuple[nn.Conv2d, nn.Module]:
    """Makes a map of features (B, C, H, W), and the norm behind it."""
    norm = MapNorm(out_width) if form == "budget" else nn.Identity()
    return nn.Conv2d(width, out_width, 1, groups=groups, bias=False), norm


def token_map(form: Form, width: int, out_width: int, groups: int = 1) -> tuple[nn.Conv1d, nn.Module]:
    """Makes a map of tokens laid out as (B, C, L), and the norm behind it, whose statistics run over B and L."""
    norm = nn.BatchNorm1d(out_width) if form == "budget" else nn.Identity()
    return nn.Conv1d(width, out_width, 1, groups=groups, bias=False), norm


def nothing() -> tuple[nn.Module, nn.Module]:
    """Stands where a form has neither a map nor its norm."""
    return nn.Identity(), nn.Identity()


def split_heads(x: Float[Tensor, "batch width places"], heads: int) -> Float[Tensor, "batch heads channels places"]:
    """Cuts channels into consecutive slices, one a head."""
    return x.unflatten(1, (heads, -1))
