"""A model's input, head and weights under the names that timm's tools read."""

from __future__ import annotations

from typing import Any

from sparsevision.models.registry import NamedVariant


def timm_settings(variant: NamedVariant) -> dict[str, Any]:
    """Returns a variant's input, head and weights as timm's `pretrained_cfg` and `default_cfg` name them."""
    preprocessing = variant.preprocessing
    model: Any = variant.family.model_class
    heads = model.class_heads  # of a detector they depend on its configuration
    weights = variant.weights.location if variant.weights is not None else None
    return {
        "url": weights if weights is not None and "://" in weights else None,
        "num_classes": variant.config.num_classes,
        "input_size": (getattr(variant.config, "in_chans", 3), *preprocessing.size),
        "fixed_input_size": False,
        "pool_size": None,
        "crop_pct": preprocessing.crop_fraction,
        "crop_mode": "squash" if preprocessing.fit == "stretch" else "center",
        "interpolation": preprocessing.interpolation,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "first_conv": getattr(model, "first_conv", None),
        "classifier": heads[0] if isinstance(heads, tuple) else None,
        "paper_ids": variant.paper,
    }
