"""Decoding of sampled features: adaptive mixing (Eqs. 4 to 6) and the ablations of Table 3e."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sparsevision.kernels.dispatch import accelerated, fast_cpu_inference
from sparsevision.kernels.mixing import mix_by_image
from sparsevision.packing.linear import PackedLinears, linear_of

Samples = Float[Tensor, "batch tokens points channels"]
Tokens = Float[Tensor, "batch tokens width"]


class SplitLinear(nn.Module):
    """A linear layer whose outputs come in parts.

    Each part is a product of its own: slicing one large output would cost a copy forward and two zero-filled tensors
    of its size backward, which took a third of a training step.
    """

    def __init__(self, in_features: int, parts: tuple[int, ...]) -> None:
        super().__init__()
        self.parts = parts
        self.weight = nn.Parameter(torch.empty(sum(parts), in_features))
        self.bias = nn.Parameter(torch.empty(sum(parts)))

    def forward(self, x: Float[Tensor, "*batch in_features"]) -> tuple[Tensor, ...]:
        """Returns one tensor (*batch, part) for each part."""
        weights, biases = self.weight.split(self.parts), self.bias.split(self.parts)
        return tuple(F.linear(x, weight, bias) for weight, bias in zip(weights, biases, strict=True))

    def packed(self) -> PackedLinears:
        """Packs each part."""
        rows = zip(self.weight.detach().split(self.parts), self.bias.detach().split(self.parts), strict=True)
        return PackedLinears(linear_of(weight, bias) for weight, bias in rows)


class AdaptiveMixing(nn.Module):
    """Mixes a token's samples over channels, then over points, by matrices that the token itself generates.

    With biases, both products are followed by a GELU (Eqs. 5 and 6); without, only the second is, as in
    the bootstrapped models. `out_points` is the number of mixed points P_o; the paper has P_o = P.
    """

    # Counted apart: a counter of the paper's time had no rule for products of two generated factors.
    generates_matrices: ClassVar[bool] = True

    def __init__(
        self, width: int, *, channels: int, num_points: int, out_points: int, hidden: int, biases: bool, eps: float
    ) -> None:
        super().__init__()
        self.channels, self.num_points, self.out_points = channels, num_points, out_points
        self.norm = nn.LayerNorm(width, eps=eps)
        self.reduce = nn.Linear(width, hidden)
        self.generate = SplitLinear(hidden, (channels * channels, num_points * out_points))
        self.channel_bias = nn.Parameter(torch.zeros(channels)) if biases else None
        self.point_bias = nn.Parameter(torch.zeros(out_points)) if biases else None
        self.out = nn.Linear(out_points * channels, width)

    def init_weights(self) -> None:
        """Starts with Xavier matrices that do not depend on the token (A.3)."""
        nn.init.constant_(self.norm.weight, self.norm.normalized_shape[0] ** -0.5)
        nn.init.zeros_(self.generate.weight)
        channel_part, point_part = self.generate.bias.detach().tensor_split([self.channels**2])
        _xavier_uniform(channel_part, self.channels, self.channels)
        _xavier_uniform(point_part, self.num_points, self.out_points)

    def forward(self, samples: Samples, tokens: Tokens) -> Tokens:
        """Returns what the samples add to the tokens."""
        channel_mix, point_mix = self.generate(self.reduce(self.norm(tokens)).flatten(0, 1))
        grid = tokens.shape[:2]
        channel_mix = channel_mix.view(*grid, self.channels, self.channels)
        point_mix = point_mix.view(*grid, self.out_points, self.num_points)
        mixed = mix(samples, channel_mix, point_mix, self.channel_bias, self.point_bias)
        return self.out(mixed.flatten(-2))


class StaticMixing(nn.Module):
    """Mixes with learned matrices that are the same for all tokens (Table 3e, "static")."""

    def __init__(self, width: int, *, channels: int, num_points: int, out_points: int) -> None:
        super().__init__()
        self.channel_mix = nn.Parameter(torch.empty(channels, channels))
        self.point_mix = nn.Parameter(torch.empty(out_points, num_points))
        self.channel_bias = nn.Parameter(torch.zeros(channels))
        self.point_bias = nn.Parameter(torch.zeros(out_points))
        self.out = nn.Linear(out_points * channels, width)

    def init_weights(self) -> None:
        """Starts with Xavier matrices, as adaptive mixing does."""
        nn.init.xavier_uniform_(self.channel_mix)
        nn.init.xavier_uniform_(self.point_mix)

    def forward(self, samples: Samples, tokens: Tokens) -> Tokens:
        """Returns what the samples add to the tokens."""
        mixed = F.gelu(samples @ self.channel_mix + self.channel_bias)
        mixed = F.gelu(self.point_mix @ mixed + self.point_bias.unsqueeze(-1))
        return self.out(mixed.flatten(-2))


class LinearDecoding(nn.Module):
    """Maps the flattened samples to the token's width (Table 3e, "linear")."""

    def __init__(self, width: int, *, channels: int, num_points: int) -> None:
        super().__init__()
        self.out = nn.Linear(num_points * channels, width)

    def forward(self, samples: Samples, tokens: Tokens) -> Tokens:
        """Returns what the samples add to the tokens."""
        return self.out(samples.flatten(-2))


@accelerated(mix_by_image, when=fast_cpu_inference)
def mix(
    samples: Samples,
    channel_mix: Float[Tensor, "batch tokens channels channels"],
    point_mix: Float[Tensor, "batch tokens out_points points"], channel_bias: Float[Tensor, " channels"] | None,
    point_bias: Float[Tensor, " out_points"] | None,
) -> Float[Tensor, "batch tokens out_points channels"]:  # fmt: skip
    """Multiplies by the channel matrix on the right (Eq. 5), then by the point matrix on the left (Eq. 6)."""
    samples = samples.to(channel_mix.dtype)
    x, channel_mix, point_mix = (part.flatten(0, 1) for part in (samples, channel_mix, point_mix))
    if channel_bias is None or point_bias is None:
        mixed = F.gelu(point_mix @ (x @ channel_mix))
    else:
        x = F.gelu(torch.baddbmm(channel_bias.to(x.dtype), x, channel_mix))
        mixed = F.gelu(torch.baddbmm(point_bias.to(x.dtype).unsqueeze(-1), point_mix, x))
    return mixed.unflatten(0, samples.shape[:2])


def _xavier_uniform(values: Tensor, fan_in: int, fan_out: int) -> None:
    """Fills a part of a vector in place as Xavier's rule fills the matrix that it will be."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    nn.init.uniform_(values, -bound, bound)
