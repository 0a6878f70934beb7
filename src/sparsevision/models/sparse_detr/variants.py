"""The named detectors: the rows of the released table, and what they are compared with."""

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

CONFIGS: Mapping[str, SparseDETRConfig] = {
    f"{name}_{short}": replace(config, backbone=backbone)
    for short, backbone in BACKBONES.items()
    for name, config in _DEFORMABLE.items()
} | {
    f"sparse_detr_{short}_{percent}": replace(_SPARSE, backbone=backbone, keep_ratio=percent / 100)
    for short, backbone in BACKBONES.items()
    for percent in KEPT_PERCENT
}
