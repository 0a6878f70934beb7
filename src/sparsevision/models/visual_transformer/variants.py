"""The named Visual Transformers: the four of Table 8."""

from __future__ import annotations

from collections.abc import Mapping

from sparsevision.models.visual_transformer.config import VisualTransformerConfig

CONFIGS: Mapping[str, VisualTransformerConfig] = {
    "vt_resnet18": VisualTransformerConfig(),
    "vt_resnet34": VisualTransformerConfig(depth=34, num_modules=3),
    "vt_resnet50": VisualTransformerConfig(depth=50, num_modules=3, feature_width=1024),
    "vt_resnet101": VisualTransformerConfig(depth=101, num_modules=3, feature_width=1024),
}
