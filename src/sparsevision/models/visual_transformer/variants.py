"""The named Visual Transformers: the four of Table 8. No weights were ever published."""

from __future__ import annotations

from collections.abc import Mapping

from sparsevision.models.registry import Variant
from sparsevision.models.visual_transformer.config import VisualTransformerConfig
from sparsevision.types import Preprocessing

CONFIGS: Mapping[str, VisualTransformerConfig] = {
    "vt_resnet18": VisualTransformerConfig(),
    "vt_resnet34": VisualTransformerConfig(depth=34, num_modules=3),
    "vt_resnet50": VisualTransformerConfig(depth=50, num_modules=3, feature_width=1024),
    "vt_resnet101": VisualTransformerConfig(depth=101, num_modules=3, feature_width=1024),
}
# Evaluation: the short side to 256, the centre 224.
VARIANTS: Mapping[str, Variant] = {
    name: Variant(config=config, preprocessing=Preprocessing(interpolation="bilinear"), paper="arXiv 2006.03677")
    for name, config in CONFIGS.items()
}
