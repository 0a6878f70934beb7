"""The named detectors: the rows of the released table, what they are compared with, and this project's nano."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sparsevision.models.sparse_detr.config import SparseDETRConfig

_SPARSE = SparseDETRConfig()
_EFFICIENT = replace(_SPARSE, selection="all", encoder_heads="none")
_PLAIN = replace(_EFFICIENT, queries="learned", boxes="direct", heads="shared")
_DEFORMABLE: Mapping[str, SparseDETRConfig] = {
    "deformable_detr": _PLAIN,
    "deformable_detr_refined": replace(_PLAIN, boxes="refined", heads="own"),
    "deformable_detr_two_stage": replace(_EFFICIENT, queries="boxes", first_stage="class_agnostic"),
    "deformable_detr_efficient": _EFFICIENT,
}
BACKBONES: Mapping[str, str] = {"r50": "resnet50", "swin_t": "swin_tiny"}
KEPT_PERCENT = (10, 20, 30, 40, 50)

_NANO = replace(
    _SPARSE, backbone="mobilenetv2_100", backbone_options=(("pad_type", "same"),), frozen_stages="none",
    encoder_depth=3, decoder_depth=3, ffn_width=512, num_queries=100, num_classes=3, keep_ratio=0.3, numerics="clean",
)  # fmt: skip

CONFIGS: Mapping[str, SparseDETRConfig] = (
    {
        "sparse_detr_nano": _NANO,
        "deformable_detr_nano": replace(_NANO, selection="all", encoder_heads="none"),
    }
    | {
        f"{name}_{short}": replace(config, backbone=backbone)
        for short, backbone in BACKBONES.items()
        for name, config in _DEFORMABLE.items()
    }
    | {
        f"sparse_detr_{short}_{percent}": replace(_SPARSE, backbone=backbone, keep_ratio=percent / 100)
        for short, backbone in BACKBONES.items()
        for percent in KEPT_PERCENT
    }
)
