"""The maps that tokenizers, token transformers and projectors are made of: 1x1 convolutions, each with its norm.

The *equation form* is Eqs. 1 to 5 of Visual Transformers (arXiv 2006.03677) as they are printed: one head, no bias, no
norm, nothing scaled, and tokens as wide as the map. The *budget form* is the one whose multiply-adds and parameters are
those of the published tables: a batch norm behind every map, groups, several heads, and logits scaled by their width.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparsevision.layers.paths import fast_cpu_training

Form = Literal["equation", "budget"]


class MapNorm(nn.BatchNorm2d):
    """A batch norm of features that products with tokens read.

    Their gradients come channel by channel whatever the map's layout is, and a CPU's batch norm takes eight times as
    long over a map and a gradient that lie differently.
    """

    def forward(self, x: Float[Tensor, "batch width h w"]) -> Float[Tensor, "batch width h w"]:
        """Returns the normalised map."""
        found = super().forward(x)
        if fast_cpu_training(x.device) and found.requires_grad and x.is_contiguous(memory_format=torch.channels_last):
            found.register_hook(_channels_last)
        return found


def _channels_last(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


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
