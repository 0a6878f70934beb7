"""Configurations from the shapes of tensors, and the registered models that tensors may belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sparsevision.checkpoints.layouts import OURS, family_of_tensors, layout_named, naming_of
from sparsevision.models.registry import variants

# Fields that a user changes without it becoming another model.
_FREE_FIELDS = ("num_classes", "in_chans")


def infer_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns the configuration's fields that the names and shapes of a model's tensors (our names) determine."""
    family = family_of_tensors(state)
    found: dict[str, Any] = {} if family is None else naming_of(family).infer_config(state)
    return found


def likely_variants(fields: Mapping[str, Any], layout: str = OURS) -> list[str]:
    """Names the registered models whose configuration agrees with everything that the shapes determine."""
    wanted = {name: value for name, value in fields.items() if name not in _FREE_FIELDS}
    if len(wanted) < 4:
        return []
    configs = {name: variant.config for name, variant in variants().items() if _agrees(variant.config, wanted)}
    # Models of the same shapes may differ in the head's size, and in the layout that their weights come in.
    exact = [
        name for name, config in configs.items() if getattr(config, "num_classes", None) == fields.get("num_classes")
    ]
    if (known := layout_named(layout)) is not None:
        exact = [name for name in exact if known.holds(configs[name])]
    return exact or list(configs)


def disagreements(fields: Mapping[str, Any], config: Any) -> list[str]:
    """Lists field by field where the shapes contradict a configuration: "cortex_width is 640, not 512"."""
    return [
        f"{name} is {value}, not {getattr(config, name)}"
        for name, value in fields.items()
        if hasattr(config, name) and getattr(config, name) != value
    ]


def _agrees(config: Any, wanted: Mapping[str, Any]) -> bool:
    return all(getattr(config, name, None) == value for name, value in wanted.items())
