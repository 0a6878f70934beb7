"""SparseFormer: an image as a few dozen tokens that decide where to look (arXiv 2304.03768).

Tokens, each an embedding and a region of interest, sample a few points of an early feature map (Eqs. 2 and 3), decode
what they read (Eqs. 4 to 6) and adjust their regions (Eqs. 7 to 9). The *focusing* unit does so several times with the same
weights; the *cortex* does it once more and goes on as a plain transformer over the tokens. The bootstrapped models of
arXiv 2312.01987 are the same parts in another order, with a class token and an encoding of the regions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers import DropPath
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sparsevision.errors import ConfigError, UnknownNameError
from sparsevision.layers.attention import FeedForward, SelfAttention
from sparsevision.layers.groups import ParameterGroup, decay_groups
from sparsevision.layers.image_features import EarlyConv, PatchEmbedding, Pixels
from sparsevision.layers.mixing import AdaptiveMixing, LinearDecoding, StaticMixing
from sparsevision.layers.rois import RoIInit, adjust_rois, encode_rois, grid_offsets, grid_rois
from sparsevision.layers.sampling import Padding, clamp_gradient, decode_points, sample_points
from sparsevision.types import Control, Points, Regions, Response, Trace

Operation = Literal["attention", "adjust", "sample", "encode", "ffn"]
OPERATIONS: tuple[Operation, ...] = ("attention", "adjust", "sample", "encode", "ffn")
PLAIN: tuple[Operation, ...] = ("attention", "ffn")


@dataclass(frozen=True)
class Numerics:
    """Values in which the released codes differ; weights want those that they were trained with."""

    channel_norm_unbiased: bool
    channel_norm_eps: float
    offset_eps: float
    norm_eps: float
    generator_norm_eps: float
    padding: Padding
    clamps_point_gradients: bool


NUMERICS: Mapping[str, Numerics] = {
    "v1": Numerics(True, 1e-7, 1e-7, 1e-6, 1e-6, "zeros", True),
    "v2": Numerics(False, 1e-5, 1e-5, 1e-6, 1e-5, "zeros", False),
    "bootstrapped": Numerics(False, 1e-5, 1e-5, 1e-5, 1e-5, "border", False),
}


@dataclass(frozen=True)
class SparseFormerConfig:
    """The hyper-parameters of Table 1, the options of Tables 3, 4 and 9, and what the bootstrapped models need.

    Attributes:
        num_tokens: tokens that sample (N); a class token is not counted.
        num_points: sampling points of a token (P).
        feature_channels: channels of the feature map (C); `image_feature="rgb"` has those of the image.
        focusing_width, focusing_repeats: width (d_f) and repeats (L_f) of the focusing unit. 0 repeats is the paper's
            "nil": no focusing unit, and the cortex samples once, at fixed points of fixed regions.
        cortex_width, cortex_depth: width (d_c) and number (L_c) of cortex units, the sampling one included.
        image_feature: "early_conv", "rgb" or "patch" (Table 3d).
        decoding: "adaptive", "static" or "linear" (Table 3e).
        roi_init: "half", "cell" or "whole" (Table 9).
        offset_scale: factor on the normalised offsets; 1 as released, 0.5 as in Eq. 3.
        numerics: "v1", "v2" or "bootstrapped": which released code the numbers agree with.
        num_classes: outputs of the head; 0 leaves the pooled features.
        in_chans: channels of the image.
        drop_path_rate: of the last unit, rising linearly from 0 at the first (stochastic depth).
        focusing_order: operations of the focusing unit, in order.
        cortex_orders: operations of each cortex unit; the default is one like the focusing unit, then plain ones.
        head_width: width of an attention head; None is the released 64 heads whatever the width.
        generator_width: inner width of the generator of mixing matrices; None is a quarter of the unit's width.
        mixing: "biased" as in the paper, or "bare": no biases and no GELU between the two products.
        adjustment: "linear" (Eq. 9) or "mlp".
        embeddings: "individual" for each token, or "shared" by all.
        stage_embedding: "none", or "learned": added to the tokens at the start of each repeat.
        bridge: "norm" or "plain": whether a norm follows the linear layer between focusing unit and cortex.
        readout: "mean" over the tokens, or the "class_token".
        cortex_activation: of the plain units' feed-forward networks: "gelu" or "quick_gelu" (CLIP's).
        head_bias: "learned" or "none".
    """

    num_tokens: int = 49
    num_points: int = 36
    feature_channels: int = 96
    focusing_width: int = 256
    focusing_repeats: int = 4
    cortex_width: int = 512
    cortex_depth: int = 8
    image_feature: Literal["early_conv", "rgb", "patch"] = "early_conv"
    decoding: Literal["adaptive", "static", "linear"] = "adaptive"
    roi_init: RoIInit = "half"
    offset_scale: float = 1.0
    numerics: Literal["v1", "v2", "bootstrapped"] = "v1"
    num_classes: int = 1000
    in_chans: int = 3
    drop_path_rate: float = 0.0
    focusing_order: tuple[Operation, ...] = ("attention", "adjust", "sample", "ffn")
    cortex_orders: tuple[tuple[Operation, ...], ...] = ()
    head_width: int | None = None
    generator_width: int | None = None
    mixing: Literal["biased", "bare"] = "biased"
    adjustment: Literal["linear", "mlp"] = "linear"
    embeddings: Literal["individual", "shared"] = "individual"
    stage_embedding: Literal["none", "learned"] = "none"
    bridge: Literal["norm", "plain"] = "norm"
    readout: Literal["mean", "class_token"] = "mean"
    cortex_activation: Literal["gelu", "quick_gelu"] = "gelu"
    head_bias: Literal["learned", "none"] = "learned"

    def __post_init__(self) -> None:
        # JSON and TOML hand lists over; a frozen config is hashed and compared.
        object.__setattr__(self, "focusing_order", tuple(self.focusing_order))
        orders = tuple(tuple(order) for order in self.cortex_orders)
        if not orders:
            first = tuple(op for op in self.focusing_order if self.focusing_repeats or op != "adjust")
            orders = (first, *[PLAIN] * (self.cortex_depth - 1))
        object.__setattr__(self, "cortex_orders", orders)
        self._check()

    def _check(self) -> None:
        for name in (
            "num_tokens",
            "num_points",
            "feature_channels",
            "focusing_width",
            "cortex_width",
            "cortex_depth",
            "in_chans",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("focusing_repeats", "num_classes"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must not be negative.")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise UnknownNameError(f"value of {name}", str(getattr(self, name)), allowed)
        if not 0 <= self.drop_path_rate < 1:
            raise ConfigError(f"drop_path_rate is {self.drop_path_rate}; it must be at least 0 and below 1.")
        if len(self.cortex_orders) != self.cortex_depth:
            raise ConfigError(
                f"cortex_orders names {len(self.cortex_orders)} units but cortex_depth is {self.cortex_depth}; make them agree."
            )
        for order in (self.focusing_order, *self.cortex_orders):
            if len(set(order)) != len(order):
                raise ConfigError(f"The unit {order} names an operation twice; each may stand in it once.")
            for operation in order:
                if operation not in OPERATIONS:
                    raise UnknownNameError("operation of a unit", str(operation), OPERATIONS)
        for width in (self.focusing_width, self.cortex_width):
            if width % self.num_heads(width):
                raise ConfigError(
                    f"A width of {width} does not divide into {self.num_heads(width)} attention heads; choose another."
                )
            if any("encode" in order for order in (self.focusing_order, *self.cortex_orders)) and width % 8:
                raise ConfigError(f"A width of {width} cannot hold the encoding of regions; choose a multiple of 8.")

    def num_heads(self, width: int) -> int:
        """Returns the attention heads of a unit: 64, or as many as there are channels if there are fewer."""
        return min(64, width) if self.head_width is None else max(1, width // self.head_width)

    @property
    def out_points(self) -> int:
        """Points after mixing (P_o): P in the first released code, at least 32 in the second."""
        return self.num_points if self.numerics == "v1" else max(self.num_points, 32)

    @property
    def sampled_channels(self) -> int:
        """Channels of the map that tokens sample from."""
        return self.in_chans if self.image_feature == "rgb" else self.feature_channels

    @property
    def looks_are_fixed(self) -> bool:
        """Whether nothing ever moves: the paper's "nil", where neither regions nor offsets are learned (Table 3b)."""
        return not self.focusing_repeats and not any("adjust" in order for order in self.cortex_orders)

    @property
    def token_width(self) -> int:
        """Width that tokens start with."""
        return self.focusing_width if self.focusing_repeats else self.cortex_width


_CHOICES: Mapping[str, tuple[str, ...]] = {
    "image_feature": ("early_conv", "rgb", "patch"),
    "decoding": ("adaptive", "static", "linear"),
    "roi_init": ("half", "cell", "whole"),
    "numerics": tuple(NUMERICS),
    "mixing": ("biased", "bare"),
    "adjustment": ("linear", "mlp"),
    "embeddings": ("individual", "shared"),
    "stage_embedding": ("none", "learned"),
    "bridge": ("norm", "plain"),
    "readout": ("mean", "class_token"),
    "cortex_activation": ("gelu", "quick_gelu"),
    "head_bias": ("learned", "none"),
}


# ------------------------------------------------------------------------------------------------------- parts of a unit


class Scene(NamedTuple):
    """What all samplings of one forward pass read: the feature map, and the valid share (x, y) of a padded batch."""

    features: Float[Tensor, "batch channels height width"]
    valid: Float[Tensor, "batch 1 1 2"] | None


class Adjust(nn.Module):
    """Says how a token moves its region: deltas (tx, ty, tw, th), zero at the start (Eq. 9)."""

    def __init__(self, width: int, kind: str, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps)
        self.hidden = nn.Linear(width, width) if kind == "mlp" else None
        self.fc = nn.Linear(width, 4, bias=False)

    def init_weights(self) -> None:
        nn.init.constant_(self.norm.weight, self.norm.normalized_shape[0] ** -0.5)
        nn.init.zeros_(self.fc.weight)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens 4"]:
        tokens = self.norm(tokens)
        if self.hidden is not None:
            tokens = F.gelu(self.hidden(tokens))
        return self.fc(tokens).float()


class Offsets(nn.Module):
    """Gives each token's sampling offsets before their normalisation (Eq. 2)."""

    def __init__(self, width: int, num_points: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps)
        self.fc = nn.Linear(width, 2 * num_points, bias=False)
        self.bias = nn.Parameter(torch.empty(2 * num_points))

    def init_weights(self, numerics: str) -> None:
        nn.init.constant_(self.norm.weight, self.norm.normalized_shape[0] ** -0.5)
        # The paper zeroes the weight; the first released code meant to and did not, and its models were trained so.
        if numerics != "v1":
            nn.init.zeros_(self.fc.weight)
        grid = grid_offsets(self.bias.numel() // 2).flatten()
        with torch.no_grad():
            if grid.numel() == self.bias.numel():
                self.bias.copy_(grid)
            elif numerics == "v1":
                nn.init.normal_(self.bias)
                self.bias[: grid.numel()].copy_(grid)
            else:
                nn.init.uniform_(self.bias, -0.5, 0.5)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens points 2"]:
        return (self.fc(self.norm(tokens)).float() + self.bias).unflatten(-1, (-1, 2))


class FixedOffsets(nn.Module):
    """The grid of offsets, for every token and every picture the same (Table 3b, "nil")."""

    def __init__(self, num_points: int) -> None:
        super().__init__()
        side = grid_offsets(num_points)
        if len(side) != num_points:
            raise ConfigError(
                f"Fixed sampling points form a square grid, which {num_points} points do not; choose a square number."
            )
        self.register_buffer("grid", side, persistent=False)
        self.grid: Tensor

    def init_weights(self, numerics: str) -> None:
        self.grid.copy_(grid_offsets(self.grid.shape[0]))

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens points 2"]:
        return self.grid.expand(*tokens.shape[:2], -1, -1)


class RoIEncoding(nn.Module):
    """Tells a token where its region lies (bootstrapped models)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps)
        self.fc = nn.Linear(width, width)

    def forward(self, rois: Float[Tensor, "batch tokens 4"]) -> Float[Tensor, "batch tokens width"]:
        return self.fc(self.norm(encode_rois(rois, self.fc.in_features)))


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's approximation of GELU."""
    return x * torch.sigmoid(1.702 * x)


class Unit(nn.Module):
    """One transformer stage: its operations in their order, run once or several times with the same weights.

    The paper's order is attention, region adjustment, sampling with mixing, feed-forward (Section 3.1); a plain cortex unit has
    the first and the last only.
    """

    def __init__(
        self, config: SparseFormerConfig, width: int, order: tuple[Operation, ...], drop_rates: list[float]
    ) -> None:
        super().__init__()
        numerics = NUMERICS[config.numerics]
        self.order, self.numerics, self.offset_scale = order, numerics, config.offset_scale
        self.gradient_scale = 1.0
        self.drops = nn.ModuleList(DropPath(rate) for rate in drop_rates)
        # The second released code drops no deltas of its two-layer adjustment.
        self.drops_deltas = config.adjustment == "linear"
        plain = len(drop_rates) == 1 and "sample" not in order
        activation = quick_gelu if plain and config.cortex_activation == "quick_gelu" else F.gelu
        learned = config.stage_embedding == "learned" and len(drop_rates) > 1
        self.stage_embedding = nn.Parameter(torch.empty(len(drop_rates), width)) if learned else None
        if "attention" in order:
            self.attn = SelfAttention(width, config.num_heads(width), numerics.norm_eps)
        if "adjust" in order:
            self.adjust = Adjust(width, config.adjustment, numerics.norm_eps)
        if "sample" in order:
            points = config.num_points
            self.offset = FixedOffsets(points) if config.looks_are_fixed else Offsets(width, points, numerics.norm_eps)
            self.mixing = _decoder(config, width, numerics)
        if "encode" in order:
            self.pe = RoIEncoding(width, numerics.norm_eps)
        if "ffn" in order:
            self.ffn = FeedForward(width, numerics.norm_eps, activation)

    def forward(
        self, tokens: Float[Tensor, "batch tokens width"], rois: Float[Tensor, "batch tokens 4"], scene: Scene,
        repeat: int = 0, trace: Trace | None = None, stage: str = "",
    ) -> tuple[Float[Tensor, "batch tokens width"], Float[Tensor, "batch tokens 4"]]:  # fmt: skip
        """Returns the tokens and their regions after one run; `repeat` says which one it is."""
        drop = self.drops[repeat]
        if self.stage_embedding is not None:
            tokens = tokens + self.stage_embedding[repeat]
        for operation in self.order:
            if operation == "attention":
                tokens = tokens + drop(self.attn(tokens))
            elif operation == "adjust":
                delta = self.adjust(tokens)
                rois = adjust_rois(rois, drop(delta) if self.drops_deltas else delta)
            elif operation == "sample":
                tokens = tokens + drop(self.mixing(self._look(tokens, rois, scene, trace, stage), tokens))
            elif operation == "encode":
                tokens = tokens + self.pe(rois)
            else:
                tokens = tokens + drop(self.ffn(tokens))
        return tokens, rois

    def _look(
        self, tokens: Tensor, rois: Tensor, scene: Scene, trace: Trace | None, stage: str
    ) -> Float[Tensor, "batch tokens points channels"]:
        """Samples the feature map where the tokens look (Eqs. 2 and 3)."""
        # Coordinates stay fp32 under autocast: half precision would move points by pixels.
        with torch.autocast(tokens.device.type, enabled=False):
            points = decode_points(
                rois, self.offset(tokens.float()), eps=self.numerics.offset_eps, scale=self.offset_scale
            )
            if trace is not None:
                trace.record(stage, Points(points))
                trace.record(stage, Regions(rois))
            if self.numerics.clamps_point_gradients:
                points = clamp_gradient(points, self.gradient_scale / scene.features.shape[2])
            if scene.valid is not None:
                points = points * scene.valid
            return sample_points(scene.features.float(), points, self.numerics.padding)


def _decoder(
    config: SparseFormerConfig, width: int, numerics: Numerics
) -> AdaptiveMixing | StaticMixing | LinearDecoding:
    """Builds the part that decodes samples (Table 3e)."""
    channels, num_points, out_points = config.sampled_channels, config.num_points, config.out_points
    if config.decoding == "linear":
        return LinearDecoding(width, channels, num_points)
    if config.decoding == "static":
        return StaticMixing(width, channels, num_points, out_points)
    return AdaptiveMixing(
        width, channels, num_points, out_points, config.generator_width or width // 4,
        biases=config.mixing == "biased", eps=numerics.generator_norm_eps,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- the model


class TokenTable(nn.Module):
    """What tokens start from: embeddings (N or 1, d) and regions (N, 4), and the class token if there is one."""

    def __init__(self, config: SparseFormerConfig) -> None:
        super().__init__()
        rows = 1 if config.embeddings == "shared" else config.num_tokens
        self.num_tokens, self.roi_init = config.num_tokens, config.roi_init
        self.embedding = nn.Parameter(torch.empty(rows, config.token_width))
        self.roi = nn.Parameter(torch.empty(config.num_tokens, 4), requires_grad=not config.looks_are_fixed)
        self.cls = nn.Parameter(torch.empty(1, config.cortex_width)) if config.readout == "class_token" else None

    def init_weights(self) -> None:
        nn.init.trunc_normal_(self.embedding, std=1.0, a=-2.0, b=2.0)
        with torch.no_grad():
            self.roi.copy_(grid_rois(self.num_tokens, self.roi_init))
        if self.cls is not None:
            nn.init.normal_(self.cls)

    def forward(self, batch: int) -> tuple[Float[Tensor, "batch tokens width"], Float[Tensor, "batch tokens 4"]]:
        return self.embedding.expand(batch, self.num_tokens, -1), self.roi.expand(batch, -1, -1)


class Bridge(nn.Module):
    """Widens the tokens between the focusing unit and the cortex."""

    def __init__(self, width: int, out_width: int, kind: str, eps: float) -> None:
        super().__init__()
        self.fc = nn.Linear(width, out_width)
        self.norm = nn.LayerNorm(out_width, eps=eps) if kind == "norm" else nn.Identity()

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens out_width"]:
        return self.norm(self.fc(tokens))


class Head(nn.Module):
    """Pools the tokens, normalises, classifies; the mean comes before the norm."""

    def __init__(self, config: SparseFormerConfig) -> None:
        super().__init__()
        width, bias = config.cortex_width, config.head_bias == "learned"
        self.norm = nn.LayerNorm(width, eps=NUMERICS[config.numerics].norm_eps)
        self.fc: nn.Module = nn.Linear(width, config.num_classes, bias=bias) if config.num_classes else nn.Identity()
        self.pool: Literal["avg", "token", ""] = "token" if config.readout == "class_token" else "avg"

    def forward(self, tokens: Float[Tensor, "batch tokens width"], pre_logits: bool = False) -> Tensor:
        if self.pool == "avg":
            tokens = tokens.mean(dim=1)
        elif self.pool == "token":
            tokens = tokens[:, 0]
        features = self.norm(tokens)
        return features if pre_logits else self.fc(features)


class SparseFormer(nn.Module):
    """The network: early features once, the focusing unit L_f times, the cortex, the head.

    Takes any height and width. `forward` returns logits (B, K).
    """

    controls: ClassVar[dict[str, Control]] = {}

    def __init__(self, config: SparseFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.num_classes = config.num_classes
        self.num_features = self.embed_dim = self.head_hidden_size = config.cortex_width
        self.default_cfg: dict[str, Any] = {}
        self.grad_checkpointing = False
        numerics = NUMERICS[config.numerics]
        self.early_conv = _image_feature(config, numerics)
        self.tokens = TokenTable(config)
        rates = torch.linspace(
            0, config.drop_path_rate, config.focusing_repeats + config.cortex_depth, device="cpu"
        ).tolist()
        focusing_rates, cortex_rates = rates[: config.focusing_repeats], rates[config.focusing_repeats :]
        if config.focusing_repeats:
            self.focusing = Unit(config, config.focusing_width, config.focusing_order, focusing_rates)
            self.bridge = Bridge(config.focusing_width, config.cortex_width, config.bridge, numerics.norm_eps)
        self.cortex = nn.ModuleList(
            Unit(config, config.cortex_width, order, [rate])
            for order, rate in zip(config.cortex_orders, cortex_rates, strict=True)
        )
        # The class token takes no part in sampling, so it enters after the last unit that samples.
        self.class_token_at = 1 + max(
            (i for i, order in enumerate(config.cortex_orders) if "sample" in order), default=-1
        )
        self.head = Head(config)
        self.init_weights()

    def init_weights(self) -> None:
        """Initialises as the released codes do (A.3, and where the two differ, as `numerics` says)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                # Truncated at an absolute ±2, which at this deviation cuts nothing; as released.
                nn.init.trunc_normal_(module.weight, std=0.02, a=-2.0, b=2.0)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, Offsets | FixedOffsets):
                module.init_weights(self.config.numerics)
            elif isinstance(
                module,
                Adjust | TokenTable | AdaptiveMixing | StaticMixing | LinearDecoding | EarlyConv | PatchEmbedding,
            ):
                module.init_weights()
            elif isinstance(module, Unit) and module.stage_embedding is not None:
                nn.init.normal_(module.stage_embedding)

    def forward(
        self,
        images: Float[Tensor, "batch in_chans height width"],
        *,
        sizes: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """Classifies normalised images; `sizes` (B, 2) are valid heights and widths, where a batch is padded."""
        tokens = self.forward_features(images, sizes=sizes, trace=trace)
        if trace is not None and trace.wants("response"):
            trace.record("head", Response(self.head.fc(self.head.norm(tokens))))
        return self.forward_head(tokens)

    def forward_features(
        self,
        images: Float[Tensor, "batch in_chans height width"],
        *,
        sizes: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Float[Tensor, "batch tokens width"]:
        """Returns the tokens after the last cortex unit, the class token first if there is one."""
        self._check_images(images)
        scene = Scene(self.early_conv(images), _valid_share(images, sizes))
        tokens, rois = self.tokens(images.shape[0])
        if trace is not None:
            trace.record("initial", Regions(rois))
        if self.config.focusing_repeats:
            for repeat in range(self.config.focusing_repeats):
                tokens, rois = self._run(self.focusing, tokens, rois, scene, repeat, trace, f"focusing.{repeat + 1}")
            tokens = self.bridge(tokens)
        for index, unit in enumerate(self.cortex):
            if index == self.class_token_at and self.tokens.cls is not None:
                tokens = torch.cat([self.tokens.cls.expand(len(tokens), 1, -1), tokens], dim=1)
            tokens, rois = self._run(unit, tokens, rois, scene, 0, trace, f"cortex.{index + 1}")
        return tokens

    def forward_head(self, tokens: Float[Tensor, "batch tokens width"], pre_logits: bool = False) -> Tensor:
        """Returns logits (B, K), or with `pre_logits` the pooled and normalised features (B, d_c)."""
        return self.head(tokens, pre_logits)

    def _run(self, unit: nn.Module, *inputs: Any) -> tuple[Tensor, Tensor]:
        if self.grad_checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(unit, *inputs, use_reentrant=False)
        return unit(*inputs)

    def _check_images(self, images: Tensor) -> None:
        expected = self.config.in_chans
        if images.ndim != 4 or images.shape[1] != expected:
            raise ConfigError(
                f"The model takes images of shape (batch, {expected}, height, width); it was given {tuple(images.shape)}."
            )

    def set_gradient_scale(self, scale: float) -> None:
        """Tells the clamp of point gradients by how much the loss is scaled (mixed precision with a gradient scaler)."""
        for unit in self.modules():
            if isinstance(unit, Unit):
                unit.gradient_scale = scale

    def parameter_groups(self) -> list[ParameterGroup]:
        """Returns the groups of the released recipe: vectors (norms, biases) and the RoI table do not decay."""
        return decay_groups(self, exempt=lambda name, parameter: parameter.ndim <= 1 or name in self.no_weight_decay())

    # timm's verbs, which other tools call

    def no_weight_decay(self) -> set[str]:
        """Names the parameters with two axes that do not decay."""
        return {"tokens.roi"}

    def get_classifier(self) -> nn.Module:
        """Returns the last linear layer."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: Literal["avg", "token", ""] | None = None) -> None:
        """Gives the head fresh outputs (0: none, the features come out), and optionally another pooling."""
        if global_pool is not None:
            if global_pool not in ("avg", "token", ""):
                raise UnknownNameError("pooling", str(global_pool), ("avg", "token", ""))
            self.head.pool = global_pool
        self.config = replace(self.config, num_classes=num_classes)
        self.num_classes = num_classes
        if not num_classes:
            self.head.fc = nn.Identity()
            return
        reference = self.head.norm.weight
        bias = self.config.head_bias == "learned"
        self.head.fc = nn.Linear(
            self.num_features, num_classes, bias=bias, device=reference.device, dtype=reference.dtype
        )
        nn.init.trunc_normal_(self.head.fc.weight, std=0.02, a=-2.0, b=2.0)
        if bias:
            nn.init.zeros_(self.head.fc.bias)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recomputes each unit's activations in the backward pass instead of keeping them."""
        self.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Sorts parameters into a stem and consecutive blocks, for learning rates that decay with depth."""
        blocks: Any = [(r"^focusing", (0,)), (r"^bridge", (0,)), (r"^cortex\.(\d+)", None), (r"^head\.norm", (99999,))]
        return {"stem": r"^early_conv|^tokens", "blocks": r"^focusing|^bridge|^cortex" if coarse else blocks}


def _image_feature(config: SparseFormerConfig, numerics: Numerics) -> EarlyConv | PatchEmbedding | Pixels:
    """Builds what tokens sample from (Table 3d)."""
    eps, unbiased = numerics.channel_norm_eps, numerics.channel_norm_unbiased
    if config.image_feature == "rgb":
        return Pixels()
    kind = EarlyConv if config.image_feature == "early_conv" else PatchEmbedding
    return kind(config.in_chans, config.feature_channels, eps=eps, unbiased=unbiased)


def _valid_share(images: Tensor, sizes: Tensor | None) -> Tensor | None:
    """Turns valid sizes (height, width) into factors (x, y) on fractions of the valid picture."""
    if sizes is None:
        return None
    padded = sizes.new_tensor(images.shape[-2:])
    return (sizes / padded).flip(-1).float().view(-1, 1, 1, 2)


# ---------------------------------------------------------------------------------------------------------------- variants

_BOOTSTRAPPED: dict[str, Any] = {
    "num_tokens": 48, "num_points": 16, "feature_channels": 64, "focusing_width": 384, "cortex_width": 768, "cortex_depth": 9,
    "numerics": "bootstrapped", "focusing_order": ("sample", "encode", "attention", "ffn", "adjust"),
    "cortex_orders": (("sample", "encode"), *[PLAIN] * 8), "head_width": 64, "generator_width": 128, "mixing": "bare",
    "adjustment": "mlp", "embeddings": "shared", "stage_embedding": "learned", "bridge": "plain", "readout": "class_token",
}  # fmt: skip
_LARGE: dict[str, Any] = {
    "focusing_width": 512, "cortex_width": 1024, "cortex_depth": 17, "cortex_orders": (("sample", "encode"), *[PLAIN] * 16),
}  # fmt: skip
_CLIP: dict[str, Any] = {"cortex_activation": "quick_gelu", "head_bias": "none"}

CONFIGS: Mapping[str, SparseFormerConfig] = {
    "sparseformer_nano": SparseFormerConfig(
        num_tokens=36, num_points=16, feature_channels=64, focusing_width=128, cortex_width=256, cortex_depth=6,
        head_width=32, num_classes=101,
    ),
    "sparseformer_tiny": SparseFormerConfig(),
    "sparseformer_small": SparseFormerConfig(num_tokens=64, focusing_width=320, cortex_width=640),
    "sparseformer_base": SparseFormerConfig(num_tokens=81, focusing_width=384, cortex_width=768, cortex_depth=10),
    "sparseformer_augreg_base": SparseFormerConfig(**_BOOTSTRAPPED),
    "sparseformer_augreg_large": SparseFormerConfig(**_BOOTSTRAPPED | _LARGE),
    "sparseformer_clip_base": SparseFormerConfig(**_BOOTSTRAPPED | _CLIP, num_classes=512),
    "sparseformer_clip_large": SparseFormerConfig(**_BOOTSTRAPPED | _LARGE | _CLIP | {"num_tokens": 63}, num_classes=768),
}  # fmt: skip
