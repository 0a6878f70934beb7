"""The door to timm: `import sparsevision.timm` makes every registered model one of timm's.

Afterwards `timm.create_model("sparseformer_tiny")`, `timm.list_models("sparseformer*")` and timm's verbs work as timm
documents them. The models differ in one respect: they end in tokens, which are on no grid, so features are (batch,
tokens, width). Feature maps can be extracted from Visual Transformers, whose first stages have them. `drop_rate` is
the dropout before the classifier, where a model has one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, is_model, register_model
from torch import Tensor, nn

from sparsevision.checkpoints import read_checkpoint
from sparsevision.checkpoints.downloads import released_weights
from sparsevision.checkpoints.layouts import layout_named
from sparsevision.checkpoints.timm_models import timm_settings
from sparsevision.errors import ConfigError, UnknownNameError
from sparsevision.factory import create_model
from sparsevision.models.registry import NamedVariant, variant_named, variants

_WEIGHT_SOURCES = ("file", "url", "state_dict", "hf_hub_id")


def _entrypoint(variant: NamedVariant) -> Callable[..., nn.Module]:
    def entrypoint(pretrained: bool = False, **options: Any) -> nn.Module:
        if options.get("features_only", False) and hasattr(variant.family.model_class, "feature_info"):
            options["feature_cfg"] = {"feature_cls": "getter", **options.get("feature_cfg", {})}
        elif options.pop("features_only", False):
            units = ""
            if hasattr(variant.family.model_class, "forward_intermediates"):
                units = ", or forward_intermediates for the tokens after each unit"
            raise ConfigError(
                f"{variant.name} has no feature maps to give, because it ends in tokens, which lie on no grid: use "
                f"forward_features{units}."
            )
        given = options.get("pretrained_cfg_overlay") or {}
        chosen = options.get("pretrained_cfg")  # of timm.create_model("NAME.TAG"), the tag
        if pretrained and (not chosen or chosen in variant.tags) and not any(given.get(key) for key in _WEIGHT_SOURCES):
            tagged = variant_named(f"{variant.name}.{chosen}") if chosen else variant
            options["pretrained_cfg_overlay"] = {**given, "file": str(released_weights(tagged))}
        return build_model_with_cfg(
            partial(_construct, variant.name), variant.name, pretrained, pretrained_filter_fn=_as_ours, **options
        )

    entrypoint.__name__ = entrypoint.__qualname__ = variant.name
    entrypoint.__doc__ = f"{variant.name} of {variant.paper}, as timm makes models."
    entrypoint.__module__ = __name__
    return entrypoint


def _construct(
    name: str, *, global_pool: str | None = None, drop_rate: float = 0.0, device: Any = None,
    dtype: torch.dtype | None = None, **options: Any,
) -> nn.Module:  # fmt: skip
    variant = variant_named(name)
    if drop_rate:
        if not hasattr(variant.config, "dropout"):
            raise ConfigError(f"{name} has no dropout: leave drop_rate at 0.")
        options["dropout"] = drop_rate
    try:
        with torch.device(device) if device is not None else nullcontext():
            model: Any = create_model(name, **options).to(dtype=dtype)
    except UnknownNameError as error:
        raise TypeError(str(error)) from error  # as Python has it, and timm's callers expect
    if global_pool is not None:
        model.reset_classifier(model.num_classes, global_pool)
    return model


def _as_ours(state: Mapping[str, Any], model: nn.Module) -> dict[str, Tensor]:
    """Renames whatever weights timm has read; the rest of fitting them is timm's."""
    checkpoint = read_checkpoint(state)
    layout, weights = layout_named(checkpoint.layout), dict(checkpoint.state)
    for name, own in model.state_dict().items():
        if layout is not None and name.endswith(layout.zeros):
            weights.setdefault(name, torch.zeros_like(own))
    return weights


def _settings(variant: NamedVariant) -> dict[str, Any]:
    """Returns the variant's settings with the file of weights that ships with the package, where there is one."""
    settings = timm_settings(variant)
    if variant.weights is not None and settings["url"] is None:
        settings["file"] = variant.weights.location
    return settings


_CLASSIFIERS = {name: variant for name, variant in variants().items() if variant.family.answers_timm}
_TAGGED = {
    name: variant_named(name) for bare, variant in _CLASSIFIERS.items() for name in (variant.tagged_names or (bare,))
}
default_cfgs = generate_default_cfgs({name: _settings(variant) for name, variant in _TAGGED.items()})
__all__ = [*_CLASSIFIERS]
for _variant in _CLASSIFIERS.values():
    if not is_model(_variant.name):
        setattr(sys.modules[__name__], _variant.name, register_model(_entrypoint(_variant)))
