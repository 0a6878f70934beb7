"""The maps that tokenizers, token transformers and projectors are made of: 1x1 convolutions, each with its norm.

The *equation form* is Eqs. 1 to 5 of Visual Transformers (arXiv 2006.03677) as they are printed: one head, no bias, no
norm, nothing scaled, and tokens as wide as the map. The *budget form* is the one whose multiply-adds and parameters are
those of the published tables: a batch norm behind every map, groups, several heads, and logits scaled by their width.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

Form = Literal["equation", "budget"]
FORMS: tuple[Form, ...] = ("equation", "budget")


def feature_map(form: Form, width: int, out_width: int, groups: int = 1) -> tuple[nn.Conv2d, nn.Module]:
    """Makes a map of features (B, C, H, W), and the norm behind it."""
    norm = nn.BatchNorm2d(out_width) if form == "budget" else nn.Identity()
    return nn.Conv2d(width, out_width, 1, groups=groups, bias=False), norm


def token_map(form: Form, width: int, out_width: int, groups: int = 1) -> tuple[nn.Conv1d, nn.Module]:
    """Makes a map of tokens laid out as (B, C, L), and the norm behind it, whose statistics run over B and L."""
    norm = nn.BatchNorm1d(out_width) if form == "budget" else nn.Identity()
    return nn.Conv1d(width, out_width, 1, groups=groups, bias=False), norm


def split_heads(x: Float[Tensor, "batch width places"], heads: int) -> Float[Tensor, "batch heads channels places"]:
    """Cuts channels into consecutive slices, one a head."""
    return x.unflatten(1, (heads, -1))
