"""Configuration of SparseFormer: the hyper-parameters of the paper's tables, and the released code's numerics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from sparsevision.errors import ConfigError, UnknownNameError
from sparsevision.models.config_checks import Count, FromZero, Rate, Repeats, RepeatsFromZero, check_fields
from sparsevision.models.sparseformer.rois import RoIInit
from sparsevision.models.sparseformer.sampling import Padding

Operation = Literal["attention", "adjust", "sample", "encode", "ffn"]
OPERATIONS: tuple[Operation, ...] = ("attention", "adjust", "sample", "encode", "ffn")
PLAIN: tuple[Operation, ...] = ("attention", "ffn")


@dataclass(frozen=True, kw_only=True)
class SparseFormerNumerics:
    """Values in which the released codes differ; weights need those that they were trained with."""

    channel_norm_unbiased: bool = False
    channel_norm_eps: float = 1e-5
    offset_eps: float = 1e-5
    norm_eps: float = 1e-6
    generator_norm_eps: float = 1e-5
    padding: Padding = "zeros"
    clamps_point_gradients: bool = False


NUMERICS: Mapping[str, SparseFormerNumerics] = {
    "v1": SparseFormerNumerics(
        channel_norm_unbiased=True, channel_norm_eps=1e-7, offset_eps=1e-7, generator_norm_eps=1e-6,
        clamps_point_gradients=True,
    ),
    "v2": SparseFormerNumerics(),
    "bootstrapped": SparseFormerNumerics(norm_eps=1e-5, padding="border"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
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
        roi_init: "half", "cell" or "whole" (Table 9), or "anywhere" (A.1).
        offset_scale: factor on the normalised offsets; 1 as released, 0.5 as in Eq. 3.
        numerics: "v1", "v2" or "bootstrapped": which released code the numbers agree with.
        num_classes: outputs of the head; 0 leaves the pooled features.
        in_chans: channels of the image.
        drop_path_rate: of the last unit, rising linearly from 0 at the first (stochastic depth).
        focusing_order: operations of the focusing unit, in order.
        cortex_orders: operations of the first cortex units, whatever the depth; the others are plain. Empty: one like
            the focusing unit. `orders` has those of all.
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

    # Coordinates of a point: x, y, and in clips the time.
    axes: ClassVar[int] = 2

    num_tokens: Count = 49
    num_points: Count = 36
    feature_channels: int = 96
    focusing_width: int = 256
    focusing_repeats: RepeatsFromZero = 4
    cortex_width: int = 512
    cortex_depth: Repeats = 8
    image_feature: Literal["early_conv", "rgb", "patch"] = "early_conv"
    decoding: Literal["adaptive", "static", "linear"] = "adaptive"
    roi_init: RoIInit = "half"
    offset_scale: float = 1.0
    numerics: Literal["v1", "v2", "bootstrapped"] = "v1"
    num_classes: FromZero = 1000
    in_chans: int = 3
    drop_path_rate: Rate = 0.0
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
        given = [tuple(order) for order in self.cortex_orders]
        # Plain units at the end follow from the depth, which may change without them.
        while len(given) > 1 and given[-1] == PLAIN:
            given.pop()
        object.__setattr__(self, "cortex_orders", () if given == [self._first_order] else tuple(given))
        self._check()

    def _check(self) -> None:
        check_fields(self)
        if len(self.cortex_orders) > self.cortex_depth:
            raise ConfigError(
                f"cortex_orders names {len(self.cortex_orders)} units but cortex_depth is {self.cortex_depth}; "
                "make them agree."
            )
        for order in (self.focusing_order, *self.orders):
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
            if any("encode" in order for order in (self.focusing_order, *self.orders)) and width % 8:
                raise ConfigError(f"A width of {width} cannot hold the encoding of regions; choose a multiple of 8.")

    def shared_fields(self) -> dict[str, Any]:
        """Returns the fields that networks of all tasks have."""
        return {field.name: getattr(self, field.name) for field in fields(SparseFormerConfig)}

    @property
    def outputs(self) -> Literal["classes", "embedding"]:
        """What the head gives: logits of classes, or an embedding, as of the models that were trained with CLIP."""
        return "embedding" if self.head_bias == "none" else "classes"

    def network(self) -> SparseFormerConfig:
        """Returns the configuration of the network alone, without outputs."""
        return SparseFormerConfig(**self.shared_fields() | {"num_classes": 0})

    def num_heads(self, width: int) -> int:
        """Returns the attention heads of a unit: 64, or as many as there are channels if there are fewer."""
        return min(64, width) if self.head_width is None else max(1, width // self.head_width)

    @property
    def orders(self) -> tuple[tuple[Operation, ...], ...]:
        """Operations of each cortex unit, in order."""
        first = self.cortex_orders or (self._first_order,)
        return (*first, *[PLAIN] * (self.cortex_depth - len(first)))

    @property
    def _first_order(self) -> tuple[Operation, ...]:
        """Operations of a cortex unit like the focusing unit; without one, regions do not move."""
        return tuple(op for op in self.focusing_order if self.focusing_repeats or op != "adjust")

    @property
    def out_points(self) -> int:
        """Points after mixing (P_o): P in the first released code, at least 32 in the second."""
        return self.num_points if self.numerics == "v1" else max(self.num_points, 32)

    @property
    def sampling_tokens(self) -> int:
        """Tokens that sample, in all."""
        return self.num_tokens

    @property
    def sampled_channels(self) -> int:
        """Channels of the map that tokens sample from."""
        return self.in_chans if self.image_feature == "rgb" else self.feature_channels

    @property
    def looks_are_fixed(self) -> bool:
        """Whether nothing ever moves: the paper's "nil", where neither regions nor offsets are learned (Table 3b)."""
        return not self.focusing_repeats and not any("adjust" in order for order in self.orders)

    @property
    def token_width(self) -> int:
        """Width that tokens start with."""
        return self.focusing_width if self.focusing_repeats else self.cortex_width
