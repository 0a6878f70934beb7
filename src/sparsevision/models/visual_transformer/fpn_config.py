"""Configuration of VT-FPN and of the FPN that it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sparsevision.errors import ConfigError
from sparsevision.models.config_checks import check_fields

# Blocks of the four stages, and how much wider a block comes out than it is inside.
RESNETS: Mapping[str, tuple[tuple[int, int, int, int], int]] = {
    "resnet18": ((2, 2, 2, 2), 1),
    "resnet34": ((3, 4, 6, 3), 1),
    "resnet50": ((3, 4, 6, 3), 4),
    "resnet101": ((3, 4, 23, 3), 4),
}


@dataclass(frozen=True, kw_only=True)
class FPNConfig:
    """The hyper-parameters of a segmenter on a feature pyramid.

    Attributes:
        neck: "tokens" (VT-FPN) or "pyramid" (FPN).
        backbone: "resnet18", "resnet34", "resnet50" or "resnet101", or the name of any timm model that gives feature
            maps of strides 4, 8, 16 and 32.
        backbone_options: (name, value) pairs for that timm model.
        backbone_width: channels behind the stem of a ResNet; 64 is the standard.
        frozen_stages: "early": the stem and the first stage are not trained, as in Detectron2; "none".
        backbone_lr_scale: share of the learning rate at which the backbone is trained.
        width: of the maps behind the neck.
        num_tokens: visual tokens of each level (L).
        token_width: channels of a token (C_T).
        num_heads: attention heads between tokens, and between pixels and tokens.
        groups: of the projectors' maps of pixels.
        token_groups: of the maps between tokens.
        see: the tokens that the pixels of a level attend to after the transformer: its "own", or "all".
        head_width, head_groups: channels of the head's convolutions, and groups of their norms.
        num_classes: outputs of the head.
    """

    neck: Literal["tokens", "pyramid"] = "tokens"
    backbone: str = "resnet50"
    backbone_options: tuple[tuple[str, str | int | float | bool], ...] = ()
    backbone_width: int = 64
    frozen_stages: Literal["early", "none"] = "early"
    backbone_lr_scale: float = 1.0
    width: int = 256
    num_tokens: int = 8
    token_width: int = 1024
    num_heads: int = 16
    groups: int = 16
    token_groups: int = 4
    see: Literal["own", "all"] = "own"
    head_width: int = 128
    head_groups: int = 32
    num_classes: int = 54

    def __post_init__(self) -> None:
        # JSON and TOML hand lists over; a frozen config is hashed and compared.
        object.__setattr__(self, "backbone_options", tuple((name, value) for name, value in self.backbone_options))
        check_fields(self)
        half = self.token_width // 2
        divided = [("head_width", self.head_width, "head_groups")]
        if self.neck == "tokens":
            divided += [("width", self.width, by) for by in ("num_heads", "groups")]
            divided += [("half of token_width", half, by) for by in ("num_heads", "token_groups")]
        for what, value, by in divided:
            if not value or value % getattr(self, by):
                raise ConfigError(f"{what} is {value}, which does not divide by {by}, {getattr(self, by)}.")
