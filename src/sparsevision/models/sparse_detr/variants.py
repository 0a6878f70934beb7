"""The named detectors: the released table's rows, the forms beside them, this project's nano; with their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sparsevision.models.registry import Variant, Weights
from sparsevision.models.sparse_detr.config import SparseDETRConfig
from sparsevision.types import Preprocessing

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
    width=128, num_heads=4, encoder_depth=3, decoder_depth=3, ffn_width=256, num_queries=100, num_classes=3,
    dropout=0.0, denoising=60, keep_ratio=0.3, numerics="clean",
)  # fmt: skip

CONFIGS: Mapping[str, SparseDETRConfig] = (
    {"sparse_detr_nano": _NANO, "deformable_detr_nano": replace(_NANO, selection="all", encoder_heads="none")}
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

# Short side 800, long side at most 1333.
_INPUT = Preprocessing(size=(800, 1333), fit="short", interpolation="bilinear")
# Of sides that are multiples of the coarsest stride, TensorFlow's padding gives maps that lie in one place.
_SMALL_INPUT = Preprocessing(size=(320, 533), fit="short", interpolation="bilinear", multiple=32)
_SERVER = "https://twg.kakaocdn.net/brainrepo/sparse_detr/"
# AP on COCO val2017 by backbone and kept tokens in percent.
_REPORTED: Mapping[str, Mapping[int, float]] = {
    "r50": {10: 45.3, 20: 45.6, 30: 46.0, 40: 46.2, 50: 46.3},
    "swin_t": {10: 48.2, 20: 48.8, 30: 49.1, 40: 49.2, 50: 49.3},
}
_WEIGHTS: Mapping[str, Mapping[str, Weights]] = {
    "sparse_detr_nano": {"bccd": Weights(location="sparse_detr_nano.safetensors", source="this project, BCCD")}
} | {
    f"sparse_detr_{short}_{percent}": {
        "coco2017": Weights(
            location=f"{_SERVER}sparse_detr_{short.replace('_', '')}_{percent}.pth",
            source="released",
            reported=reported,
        )
    }
    for short, rows in _REPORTED.items()
    for percent, reported in rows.items()
}

VARIANTS: Mapping[str, Variant] = {
    name: Variant(
        config=config,
        preprocessing=_SMALL_INPUT if name.endswith("_nano") else _INPUT,
        paper="arXiv 2111.14330" if name.startswith("sparse_detr_") else "arXiv 2010.04159",
        weights=_WEIGHTS.get(name, {}),
    )
    for name, config in CONFIGS.items()
}
