"""The named segmenters on feature pyramids: VT-FPN, and the FPN they are compared with. Nothing was released."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsevision.models.registry import Variant, Weights
from sparsevision.models.visual_transformer.fpn_config import FPNConfig
from sparsevision.types import Preprocessing

_NANO: dict[str, Any] = {
    "backbone": "mobilenetv2_100", "backbone_options": (("pad_type", "same"),), "frozen_stages": "none",
    "backbone_lr_scale": 0.3, "width": 128, "num_tokens": 8, "token_width": 512, "num_heads": 8, "groups": 8,
    "head_width": 96, "head_groups": 16, "num_classes": 2,
}  # fmt: skip
CONFIGS: Mapping[str, FPNConfig] = {
    "vt_fpn_nano": FPNConfig(**_NANO),
    "fpn_nano": FPNConfig(**_NANO, neck="pyramid"),
    "vt_fpn_r50": FPNConfig(),
    "vt_fpn_r101": FPNConfig(backbone="resnet101"),
    "fpn_r50": FPNConfig(neck="pyramid"),
    "fpn_r101": FPNConfig(neck="pyramid", backbone="resnet101"),
}
_INPUT = Preprocessing(size=(800, 1333), fit="short", interpolation="bilinear")
_SMALL_INPUT = Preprocessing(size=(360, 1024), fit="short", interpolation="bilinear")
_WEIGHTS = {
    "vt_fpn_nano": {
        "nuclei": Weights(location="vt_fpn_nano.safetensors", source="this project, nuclei (BBBC038)"),
    }
}
VARIANTS: Mapping[str, Variant] = {
    name: Variant(
        config=config,
        preprocessing=_SMALL_INPUT if name.endswith("_nano") else _INPUT,
        paper="arXiv 2006.03677" if config.neck == "tokens" else "arXiv 1901.02446",
        weights=_WEIGHTS.get(name, {}),
        int8=("openvino",) if name == "vt_fpn_nano" else (),
    )
    for name, config in CONFIGS.items()
}
