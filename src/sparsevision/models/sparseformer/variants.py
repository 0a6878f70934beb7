"""The named SparseFormers: Table 1, the bootstrapped models, and this project's nano, each with input and weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsevision.models.registry import Variant, Weights
from sparsevision.models.sparseformer.config import SparseFormerConfig
from sparsevision.types import Preprocessing

_BOOTSTRAPPED: dict[str, Any] = {
    "num_tokens": 48, "num_points": 16, "feature_channels": 64,
    "focusing_width": 384, "cortex_width": 768, "cortex_depth": 9,
    "numerics": "bootstrapped", "focusing_order": ("sample", "encode", "attention", "ffn", "adjust"),
    "cortex_orders": (("sample", "encode"),), "head_width": 64, "generator_width": 128, "mixing": "bare",
    "adjustment": "mlp", "embeddings": "shared", "stage_embedding": "learned", "bridge": "plain",
    "readout": "class_token",
}  # fmt: skip
_LARGE: dict[str, Any] = {"focusing_width": 512, "cortex_width": 1024, "cortex_depth": 17}
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
    "sparseformer_clip_large": SparseFormerConfig(
        **_BOOTSTRAPPED | _LARGE | _CLIP | {"num_tokens": 63, "num_classes": 768}
    ),
}  # fmt: skip

_V1 = "https://github.com/showlab/sparseformer/releases/download/v1.0.0-imagenet/sparseformer_"
_V2 = "https://github.com/showlab/sparseformer/releases/download/v2.0.0-refactor/sparseformer_btsp_"
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_HALF_INPUT = Preprocessing(interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
_CLIP_INPUT = Preprocessing(interpolation="bilinear", mean=_CLIP_MEAN, std=_CLIP_STD)


def _released(name: str, file: str, top1: float | None = None, preprocessing: Preprocessing | None = None) -> Variant:
    return Variant(
        config=CONFIGS[name],
        preprocessing=preprocessing or Preprocessing(),
        paper="arXiv 2312.01987" if preprocessing else "arXiv 2304.03768",
        weights={
            "bootstrapped" if preprocessing else "imagenet1k": Weights(
                location=f"{file}.pth", source="released", reported=top1
            )
        },
    )


VARIANTS: Mapping[str, Variant] = {
    "sparseformer_nano": Variant(
        config=CONFIGS["sparseformer_nano"],
        preprocessing=Preprocessing(size=(160, 160)),
        paper="arXiv 2304.03768",
        weights={
            "caltech101": Weights(location="sparseformer_nano.safetensors", source="this project, Caltech-101"),
            "placed_digits": Weights(
                location="sparseformer_nano.placed_digits.safetensors",
                source="this project, digits on Caltech-101's photographs",
                preprocessing=Preprocessing(size=(224, 224), interpolation="bilinear", fit="stretch"),
            ),
        },
        int8=("openvino",),
    )
} | {
    name: _released(name, *rest)
    for name, *rest in (
        ("sparseformer_tiny", f"{_V1}t_imagenet1k", 81.0),
        ("sparseformer_small", f"{_V1}s_imagenet1k", 82.0),
        ("sparseformer_base", f"{_V1}b_imagenet1k", 82.6),
        ("sparseformer_augreg_base", f"{_V2}augreg_base_converted", None, _HALF_INPUT),
        ("sparseformer_augreg_large", f"{_V2}augreg_large_converted", None, _HALF_INPUT),
        ("sparseformer_clip_base", f"{_V2}openai_clip_base_converted", None, _CLIP_INPUT),
        ("sparseformer_clip_large", f"{_V2}openai_clip_large_converted", None, _CLIP_INPUT),
    )
}
