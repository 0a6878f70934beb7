"""The named SparseFormers: Table 1, the bootstrapped models, and this project's nano."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsevision.models.sparseformer.config import PLAIN, SparseFormerConfig

_BOOTSTRAPPED: dict[str, Any] = {
    "num_tokens": 48, "num_points": 16, "feature_channels": 64,
    "focusing_width": 384, "cortex_width": 768, "cortex_depth": 9,
    "numerics": "bootstrapped", "focusing_order": ("sample", "encode", "attention", "ffn", "adjust"),
    "cortex_orders": (("sample", "encode"), *[PLAIN] * 8), "head_width": 64, "generator_width": 128, "mixing": "bare",
    "adjustment": "mlp", "embeddings": "shared", "stage_embedding": "learned", "bridge": "plain",
    "readout": "class_token",
}  # fmt: skip
_LARGE: dict[str, Any] = {
    "focusing_width": 512, "cortex_width": 1024, "cortex_depth": 17,
    "cortex_orders": (("sample", "encode"), *[PLAIN] * 16),
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
    "sparseformer_clip_large": SparseFormerConfig(
        **_BOOTSTRAPPED | _LARGE | _CLIP | {"num_tokens": 63, "num_classes": 768}
    ),
}  # fmt: skip
