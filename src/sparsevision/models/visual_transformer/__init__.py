"""Visual Transformers (arXiv 2006.03677): the last stage of a ResNet gives way to a few visual tokens."""

from sparsevision.models.visual_transformer.config import VisualTransformerConfig
from sparsevision.models.visual_transformer.variants import CONFIGS

__all__ = ["CONFIGS", "VisualTransformerConfig"]
