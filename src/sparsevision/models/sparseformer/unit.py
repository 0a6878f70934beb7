"""A SparseFormer's unit: tokens attend to each other, move their regions, sample the image, digest (Section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sparsevision.errors import ConfigError
from sparsevision.models.precision import at_least_single, like_weights, without_autocast
from sparsevision.models.sparseformer.attention import TokenFeedForward, TokenSelfAttention
from sparsevision.models.sparseformer.clip_features import FrameMaps
from sparsevision.models.sparseformer.config import NUMERICS, Operation, SparseFormerConfig, SparseFormerNumerics
from sparsevision.models.sparseformer.mixing import AdaptiveMixing, LinearDecoding, StaticMixing
from sparsevision.models.sparseformer.rois import adjust_rois, encode_rois, grid_offsets
from sparsevision.models.sparseformer.sampling import Padding, clamp_gradient, decode_points, sample_points
from sparsevision.types import Points, Regions, Trace

Tokens = Float[Tensor, "batch tokens width"]
RoIs = Float[Tensor, "batch regions corners"]  # the class token has none


class SampledMap(NamedTuple):
    """Input of one run of a unit: the feature map, or those of a clip, and the valid share (x, y) of a padded batch.

    `repeat` counts the runs of the same unit; `trace` is filled under the name `stage`.
    """

    features: Float[Tensor, "batch channels height width"] | FrameMaps
    valid: Float[Tensor, "batch 1 1 2"] | None
    repeat: int = 0
    trace: Trace | None = None
    stage: str = ""

    @property
    def height(self) -> int:
        """Rows of the map."""
        return self.features.height if isinstance(self.features, FrameMaps) else self.features.shape[2]

    def sample(
        self, points: Float[Tensor, "batch tokens points axes"], padding: Padding
    ) -> Float[Tensor, "batch tokens points channels"]:
        """Reads the features at points in fractions of the map."""
        if isinstance(self.features, FrameMaps):
            return self.features.sample(points, padding)
        return sample_points(self.features.to(points.dtype), points, padding)


class RoIAdjustment(nn.Module):
    """Region adjustment of a token: deltas as `adjust_rois` takes them, zero at the start (Eq. 9)."""

    def __init__(self, width: int, kind: str, eps: float, axes: int = 2) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps)
        self.hidden = nn.Linear(width, width) if kind == "mlp" else None
        self.fc = nn.Linear(width, 2 * axes, bias=False)

    def init_weights(self) -> None:
        """Starts without any movement."""
        nn.init.constant_(self.norm.weight, self.norm.normalized_shape[0] ** -0.5)
        nn.init.zeros_(self.fc.weight)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens corners"]:
        """Returns the deltas, in fp32 at least."""
        tokens = self.norm(tokens)
        if self.hidden is not None:
            tokens = F.gelu(self.hidden(tokens))
        return at_least_single(self.fc(tokens))


class PointOffsets(nn.Module):
    """Sampling offsets of each token, before their normalisation (Eq. 2)."""

    def __init__(self, config: SparseFormerConfig, width: int) -> None:
        super().__init__()
        self.first_code, self.axes = config.numerics == "v1", config.axes
        outputs = self.axes * config.num_points
        self.norm = nn.LayerNorm(width, eps=NUMERICS[config.numerics].norm_eps)
        self.fc = nn.Linear(width, outputs, bias=False)
        self.bias = nn.Parameter(torch.empty(outputs))

    def init_weights(self) -> None:
        """Starts with a grid of points (A.3)."""
        nn.init.constant_(self.norm.weight, self.norm.normalized_shape[0] ** -0.5)
        # The paper zeroes the weight; the first released code meant to and did not, and its models were trained so.
        if not self.first_code:
            nn.init.zeros_(self.fc.weight)
        bias = self.bias.detach().view(-1, self.axes)[:, :2]
        grid = grid_offsets(len(bias))
        if len(grid) == len(bias):
            bias.copy_(grid)
        elif self.first_code:
            bias.normal_()
            bias[: len(grid)].copy_(grid)
        else:
            bias.uniform_(-0.5, 0.5)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens points axes"]:
        """Returns the raw offsets, in fp32 at least."""
        return (at_least_single(self.fc(self.norm(tokens))) + self.bias).unflatten(-1, (-1, self.axes))


class FixedPointOffsets(nn.Module):
    """The grid of offsets, for every token and every image the same (Table 3b, "nil")."""

    def __init__(self, num_points: int) -> None:
        super().__init__()
        side = grid_offsets(num_points)
        if len(side) != num_points:
            raise ConfigError(
                f"Fixed sampling points form a square grid, which {num_points} points do not; choose a square number."
            )
        self.register_buffer("grid", side, persistent=False)
        self.grid: Tensor

    def init_weights(self) -> None:
        """Fills the grid, which a model built on the meta device does not have yet."""
        self.grid.copy_(grid_offsets(self.grid.shape[0]))

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens points 2"]:
        """Returns the grid for every token."""
        return self.grid.expand(*tokens.shape[:2], -1, -1)


class RoIEncoding(nn.Module):
    """Encoding of each token's region (bootstrapped models)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.width = width
        self.norm = nn.LayerNorm(width, eps=eps)
        self.fc = nn.Linear(width, width)

    def forward(
        self, rois: Float[Tensor, "batch tokens corners"], precision: torch.dtype
    ) -> Float[Tensor, "batch tokens width"]:
        """Returns what the encoding adds to the tokens."""
        return self.fc(self.norm(encode_rois(at_least_single(rois), self.width).to(precision)))


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's approximation of GELU."""
    return x * torch.sigmoid(1.702 * x)


class LateDropPath(nn.Module):
    """timm's stochastic depth, imported when something is dropped: that takes seconds, and predicting drops nothing."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, delta: Tensor) -> Tensor:
        """Returns what is added to the tokens: in training nothing, for a share `rate` of the images."""
        if self.rate == 0 or not self.training:
            return delta
        from timm.layers.drop import drop_path

        return drop_path(delta, self.rate, self.training)


class SparseFormerUnit(nn.Module):
    """One transformer stage: its operations in their order, run once or several times with the same weights.

    The paper's order is attention, region adjustment, sampling with mixing, feed-forward (Section 3.1); a plain cortex
    unit has the first and the last only. An operation takes and returns the tokens and their regions.
    """

    def __init__(
        self, config: SparseFormerConfig, width: int, *, order: tuple[Operation, ...], drop_rates: list[float]
    ) -> None:
        super().__init__()
        numerics = NUMERICS[config.numerics]
        self.numerics, self.offset_scale = numerics, config.offset_scale
        self.gradient_scale = 1.0
        self.drops = nn.ModuleList(LateDropPath(rate) for rate in drop_rates)
        # The second released code drops no deltas of its two-layer adjustment.
        delta_rates = drop_rates if config.adjustment == "linear" else [0.0] * len(drop_rates)
        self.delta_drops = nn.ModuleList(LateDropPath(rate) for rate in delta_rates)
        plain = len(drop_rates) == 1 and "sample" not in order
        activation = quick_gelu if plain and config.cortex_activation == "quick_gelu" else F.gelu
        learned = config.stage_embedding == "learned" and len(drop_rates) > 1
        self.stage_embedding = nn.Parameter(torch.empty(len(drop_rates), width)) if learned else None
        if "attention" in order:
            self.attn = TokenSelfAttention(width, config.num_heads(width), numerics.norm_eps)
        if "adjust" in order:
            self.adjust = RoIAdjustment(width, config.adjustment, numerics.norm_eps, config.axes)
        if "sample" in order:
            fixed = config.looks_are_fixed
            self.offset = FixedPointOffsets(config.num_points) if fixed else PointOffsets(config, width)
            self.mixing = _decoder(config, width, numerics)
        if "encode" in order:
            self.pe = RoIEncoding(width, numerics.norm_eps)
        if "ffn" in order:
            self.ffn = TokenFeedForward(width, numerics.norm_eps, activation)
        self.operations = tuple(_OPERATIONS[operation] for operation in order)

    def init_weights(self) -> None:
        """Draws the stage embedding from a normal distribution."""
        if self.stage_embedding is not None:
            nn.init.normal_(self.stage_embedding)

    def forward(self, tokens: Tokens, rois: RoIs, view: SampledMap) -> tuple[Tokens, RoIs]:
        """Returns the tokens and their regions after one run."""
        if self.stage_embedding is not None:
            tokens = tokens + self.stage_embedding[view.repeat]
        for operation in self.operations:
            tokens, rois = operation(self, tokens, rois, view)
        return tokens, rois

    def attend(self, tokens: Tokens, rois: RoIs, view: SampledMap) -> tuple[Tokens, RoIs]:
        """Exchanges features among the tokens."""
        return tokens + self.drops[view.repeat](self.attn(tokens)), rois

    def move(self, tokens: Tokens, rois: RoIs, view: SampledMap) -> tuple[Tokens, RoIs]:
        """Moves each token's region by the token's own deltas (Eqs. 7 to 9)."""
        return tokens, adjust_rois(rois, self.delta_drops[view.repeat](self.adjust(tokens)))

    def look(self, tokens: Tokens, rois: RoIs, view: SampledMap) -> tuple[Tokens, RoIs]:
        """Reads the feature map inside the regions, and decodes what was read (Eqs. 2 to 6)."""
        samples = self.sample(tokens, rois, view)
        return tokens + self.drops[view.repeat](self.mixing(samples, tokens)), rois

    def locate(self, tokens: Tokens, rois: RoIs, view: SampledMap) -> tuple[Tokens, RoIs]:
        """Adds the encoding of the regions."""
        return tokens + self.pe(rois, like_weights(rois, tokens).dtype), rois

    def digest(self, tokens: Tokens, rois: RoIs, view: SampledMap) -> tuple[Tokens, RoIs]:
        """Passes each token through the feed-forward network."""
        return tokens + self.drops[view.repeat](self.ffn(tokens)), rois

    def sample(self, tokens: Tokens, rois: RoIs, view: SampledMap) -> Float[Tensor, "batch tokens points channels"]:
        """Samples the feature map where the tokens look (Eqs. 2 and 3)."""
        precision = like_weights(tokens.float(), tokens).dtype
        # Coordinates stay fp32 under autocast: half precision would move points by pixels.
        with without_autocast(tokens):
            offsets = self.offset(tokens.to(precision))
            points = decode_points(rois, offsets, eps=self.numerics.offset_eps, scale=self.offset_scale)
            if view.trace is not None:
                view.trace.record(view.stage, Points(points))
                view.trace.record(view.stage, Regions(rois))
            if self.numerics.clamps_point_gradients:
                # The clamp is for coordinates of the map; the gradient of the time is not clamped.
                places = clamp_gradient(points[..., :2], self.gradient_scale / view.height)
                points = torch.cat([places, points[..., 2:]], dim=-1) if points.shape[-1] > 2 else places
            if view.valid is not None:
                points = points * view.valid
            return view.sample(points, self.numerics.padding).to(precision)


_OPERATIONS: Mapping[Operation, Callable[..., tuple[Tensor, Tensor]]] = {
    "attention": SparseFormerUnit.attend,
    "adjust": SparseFormerUnit.move,
    "sample": SparseFormerUnit.look,
    "encode": SparseFormerUnit.locate,
    "ffn": SparseFormerUnit.digest,
}


def _decoder(
    config: SparseFormerConfig, width: int, numerics: SparseFormerNumerics
) -> AdaptiveMixing | StaticMixing | LinearDecoding:
    """Builds the part that decodes samples (Table 3e)."""
    read: dict[str, int] = {"channels": config.sampled_channels, "num_points": config.num_points}
    if config.decoding == "linear":
        return LinearDecoding(width, **read)
    if config.decoding == "static":
        return StaticMixing(width, out_points=config.out_points, **read)
    return AdaptiveMixing(
        width, out_points=config.out_points, hidden=config.generator_width or width // 4,
        biases=config.mixing == "biased", eps=numerics.generator_norm_eps, **read,
    )  # fmt: skip
