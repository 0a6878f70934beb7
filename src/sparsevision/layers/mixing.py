"""How sampled features become part of a token: adaptive mixing (Eqs. 4 to 6) and the ablations of Table 3e."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sparsevision.layers.opaque import opaque
from sparsevision.layers.paths import fast_cpu_inference


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


class AdaptiveMixing(nn.Module):
    """Mixes a token's samples over channels, then over points, by matrices that the token itself generates.

    With biases, both products are followed by a GELU (Eqs. 5 and 6); without, only the second is, as in
    the bootstrapped models. `out_points` is the number of mixed points P_o; the paper has P_o = P.
    """

    def __init__(
        self, width: int, channels: int, num_points: int, out_points: int, hidden: int, *, biases: bool, eps: float
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

    def forward(
        self, samples: Float[Tensor, "batch tokens points channels"], tokens: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Returns what the samples add to the tokens."""
        channel_mix, point_mix = self.generate(self.reduce(self.norm(tokens)).flatten(0, 1))
        channel_mix = channel_mix.unflatten(-1, (self.channels, self.channels))
        point_mix = point_mix.unflatten(-1, (self.out_points, self.num_points))
        parts = (samples.flatten(0, 1), channel_mix, point_mix, self.channel_bias, self.point_bias)
        mixed = mix_by_picture(*parts, len(tokens)) if fast_cpu_inference(samples.device) else mix(*parts)
        return self.out(mixed.flatten(-2)).view_as(tokens)


class StaticMixing(nn.Module):
    """Mixes with learned matrices that are the same for all tokens (Table 3e, "static")."""

    def __init__(self, width: int, channels: int, num_points: int, out_points: int) -> None:
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

    def forward(
        self, samples: Float[Tensor, "batch tokens points channels"], tokens: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Returns what the samples add to the tokens."""
        mixed = F.gelu(samples @ self.channel_mix + self.channel_bias)
        mixed = F.gelu(self.point_mix @ mixed + self.point_bias.unsqueeze(-1))
        return self.out(mixed.flatten(-2))


class LinearDecoding(nn.Module):
    """Maps the flattened samples to the token's width (Table 3e, "linear")."""

    def __init__(self, width: int, channels: int, num_points: int) -> None:
        super().__init__()
        self.out = nn.Linear(num_points * channels, width)

    def init_weights(self) -> None:
        """Has nothing of its own to initialise: linear layers are the model's business."""

    def forward(
        self, samples: Float[Tensor, "batch tokens points channels"], tokens: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Returns what the samples add to the tokens."""
        return self.out(samples.flatten(-2))


def mix(
    samples: Float[Tensor, "items points channels"],
    channel_mix: Float[Tensor, "items channels channels"],
    point_mix: Float[Tensor, "items out_points points"],
    channel_bias: Float[Tensor, " channels"] | None,
    point_bias: Float[Tensor, " out_points"] | None,
) -> Float[Tensor, "items out_points channels"]:
    """Multiplies by the channel matrix on the right (Eq. 5), then by the point matrix on the left (Eq. 6)."""
    samples = samples.to(channel_mix.dtype)
    if channel_bias is None or point_bias is None:
        return F.gelu(point_mix @ (samples @ channel_mix))
    mixed = F.gelu(torch.baddbmm(channel_bias.to(samples.dtype), samples, channel_mix))
    return F.gelu(torch.baddbmm(point_bias.to(samples.dtype).unsqueeze(-1), point_mix, mixed))


@opaque(
    "(Tensor samples, Tensor channel_mix, Tensor point_mix, Tensor? channel_bias, Tensor? point_bias, int pictures)"
    " -> Tensor",
    lambda samples, channel_mix, point_mix, channel_bias, point_bias, pictures: channel_mix.new_empty(
        *point_mix.shape[:2], samples.shape[2]
    ),
)
def mix_by_picture(
    samples: Tensor, channel_mix: Tensor, point_mix: Tensor, channel_bias: Tensor | None, point_bias: Tensor | None,
    pictures: int,
) -> Tensor:  # fmt: skip
    """Does what `mix` does, one of `pictures` after the other: its samples stay in cache from product to product.

    For inference on a CPU, in the precision of `channel_mix`.
    """
    precision = channel_mix.dtype
    result = channel_mix.new_empty(*point_mix.shape[:2], samples.shape[2])
    whole = (samples.to(precision), channel_mix, point_mix.to(precision), result)
    if channel_bias is not None and point_bias is not None:
        channel_bias, point_bias = channel_bias.to(precision), point_bias.to(precision).unsqueeze(-1)
    # Autocast converts what is given to a product, but not where its result is to be written.
    with torch.autocast("cpu", enabled=False):
        for seen, channels, points, place in zip(*(part.chunk(max(1, pictures)) for part in whole), strict=True):
            if channel_bias is None or point_bias is None:
                torch.bmm(points, torch.bmm(seen, channels), out=place)
            else:
                mixed = torch.ops.aten.gelu_(torch.baddbmm(channel_bias, seen, channels))
                torch.baddbmm(point_bias, points, mixed, out=place)
            torch.ops.aten.gelu_(place)
    return result


def _xavier_uniform(values: Tensor, fan_in: int, fan_out: int) -> None:
    """Fills a part of a vector in place as Xavier's rule fills the matrix that it will be."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    nn.init.uniform_(values, -bound, bound)
