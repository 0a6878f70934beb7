"""Configuration of Sparse DETR; Deformable DETR and its two-stage forms are values of the same fields."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from sparsevision.errors import ConfigError
from sparsevision.models.config_checks import MOST_COUNT, Count, Range, Rate, Repeats, check_fields

# Queries for each object of the most crowded image.
QUERIES_AN_OBJECT = 1.5


@dataclass(frozen=True, kw_only=True)
class SparseDETRNumerics:
    """Quirks of the released code, with which its weights were trained (released README), or none of them.

    Attributes:
        own_budgets: each image has its own number of tokens in the encoder heads and their losses; released, every
            image of a batch gets the largest.
        ignores_padding: padded tokens take no part in the scorer's mean and loss, and never become queries.
        centred_map: the decoder's attention map is spread around pixel centres, as the sampling is; released, it is
            half a pixel off.
    """

    own_budgets: bool
    ignores_padding: bool
    centred_map: bool


NUMERICS: Mapping[str, SparseDETRNumerics] = {
    "released": SparseDETRNumerics(own_budgets=False, ignores_padding=False, centred_map=False),
    "clean": SparseDETRNumerics(own_budgets=True, ignores_padding=True, centred_map=True),
}


@dataclass(frozen=True, kw_only=True)
class SparseDETRConfig:
    """The hyper-parameters of Sparse DETR (arXiv 2111.14330) and of Deformable DETR (arXiv 2010.04159).

    Attributes:
        backbone: "resnet50", "swin_tiny", or the name of any timm model that gives feature maps.
        backbone_options: (name, value) pairs for that timm model.
        frozen_stages: "early": the stem and the first stage are not trained, as published; "none".
        width: of tokens and queries (d).
        num_levels: feature levels (L): the backbone's last ones, then ones of half the size each.
        num_heads, num_points: heads of an attention (M), and points of a head on a level (P).
        encoder_points: points of a head on a level in the encoder, where these are others.
        encoder_depth, decoder_depth: layers (E, D).
        ffn_width: inner width of the feed-forward networks (F).
        num_queries: detections in the decoder (Q).
        num_classes: outputs of a class head (C).
        dropout: rate on attention outputs, inside and after the feed-forward networks, on self-attention weights.
        selection: which tokens the encoder updates: "all"; by a network that learns the decoder's cross-attention map
            ("dam", Section 3.2), or where there are boxes of a level's size ("salience"); by the class score of a head
            on the backbone's tokens ("objectness", Section 3.1); or "random" ones.
        keep_ratio: share of the tokens that is updated (rho); may be changed at every call of a trained model.
        queries: where queries come from: a "learned" table (single stage); boxes of the first stage, embedded
            ("boxes", Deformable DETR's two-stage form); or the first stage's tokens themselves ("tokens", the efficient
            query initialisation).
        first_stage: ranks tokens by their best class ("class_specific") or by one score ("class_agnostic").
        boxes: "refined" from layer to layer, or read off once ("direct").
        heads: one for each layer ("own"), or one for all ("shared").
        encoder_heads: "auxiliary": detection heads behind the encoder's layers, for training alone; or "none".
        numerics: "released" or "clean".
        look_forward: "once", or "twice": in training, the loss of a layer's boxes also reaches the layer before.
        query_groups: groups of queries in training, each matched with all objects; predictions come from the first.
        denoising: about how many disturbed objects training gives the decoder to put right, where the model is called
            with `targets`; 0 for none.
    """

    backbone: str = "resnet50"
    backbone_options: tuple[tuple[str, str | int | float | bool], ...] = ()
    frozen_stages: Literal["early", "none"] = "early"
    width: int = 256
    num_levels: Annotated[int, Range(1, 16)] = 4
    num_heads: int = 8
    num_points: Count = 4
    encoder_points: int | None = None
    encoder_depth: Repeats = 6
    decoder_depth: Repeats = 6
    ffn_width: int = 1024
    num_queries: Count = 300
    num_classes: int = 91
    dropout: Rate = 0.1
    selection: Literal["all", "dam", "salience", "objectness", "random"] = "dam"
    keep_ratio: float = 0.1
    queries: Literal["learned", "boxes", "tokens"] = "tokens"
    first_stage: Literal["class_specific", "class_agnostic"] = "class_specific"
    boxes: Literal["refined", "direct"] = "refined"
    heads: Literal["own", "shared"] = "own"
    encoder_heads: Literal["auxiliary", "none"] = "auxiliary"
    numerics: Literal["released", "clean"] = "released"
    look_forward: Literal["once", "twice"] = "once"
    query_groups: Annotated[int, Range(1, 64)] = 1
    denoising: Annotated[int, Range(0, 4096)] = 0

    def __post_init__(self) -> None:
        # JSON and TOML hand lists over; a frozen config is hashed and compared.
        object.__setattr__(self, "backbone_options", tuple((name, value) for name, value in self.backbone_options))
        check_fields(self)
        if not 0 < self.keep_ratio <= 1:
            raise ConfigError(f"keep_ratio is {self.keep_ratio}; it must be above 0 and at most 1.")
        for divisor in (self.num_heads, 32):
            if self.width % divisor:
                raise ConfigError(
                    f"A width of {self.width} does not divide by {divisor} (attention heads, or groups of a norm)."
                )
        if self.selection != "all" and not self.two_stage:
            raise ConfigError(
                f"selection={self.selection!r} ranks tokens by the first stage's projection and needs "
                "queries='tokens' or 'boxes'; with queries='learned' choose selection='all'."
            )
        if self.two_stage and self.boxes == "direct":
            raise ConfigError("queries='tokens' and 'boxes' start from boxes, which boxes='direct' would not refine.")
        if self.look_forward == "twice" and self.boxes == "direct":
            raise ConfigError(
                "look_forward='twice' is for boxes that are refined from layer to layer: use boxes='refined'."
            )
        if not self.two_stage and (self.query_groups > 1 or self.denoising):
            raise ConfigError(
                "query_groups and denoising start from boxes: they need queries='tokens' or 'boxes'; with "
                "queries='learned' set query_groups=1 and denoising=0."
            )

    def for_objects(self, most: int) -> dict[str, int]:
        """Returns fields with which images of so many objects can be trained on; none where they can as it is."""
        wanted = min(math.ceil(QUERIES_AN_OBJECT * most), MOST_COUNT)
        return {"num_queries": wanted} if self.two_stage and wanted > self.num_queries else {}

    @property
    def windowed(self) -> bool:
        """Whether the backbone pads its maps to whole windows, which no graph for images of any sides expresses."""
        return self.backbone == "swin_tiny"

    @property
    def two_stage(self) -> bool:
        """Whether a first stage on the encoder's tokens proposes the queries."""
        return self.queries != "learned"

    @property
    def num_decoder_heads(self) -> int:
        """Detection heads behind the decoder's layers."""
        return self.decoder_depth if self.heads == "own" else 1
