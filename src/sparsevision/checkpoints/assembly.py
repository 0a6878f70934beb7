"""A model from a name, overrides and weights: configuration first, checked against the weights, then the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from sparsevision.checkpoints.checkpoint import Checkpoint, LoadReport
from sparsevision.checkpoints.fitting import config_fields, disagreements, likely_variants
from sparsevision.checkpoints.hub import with_hub
from sparsevision.checkpoints.identity import Identity, identify
from sparsevision.checkpoints.labels import released_labels
from sparsevision.checkpoints.loading import load_into
from sparsevision.checkpoints.settings import timm_settings
from sparsevision.errors import CheckpointError, ConfigError, UnknownNameError
from sparsevision.models.registry import VARIANTS, Variant
from sparsevision.types import ClassFacts

_RELEASED = {
    "v1": "v1", "v2": "v2", "bootstrapped": "bootstrapped", "sparse_detr": "released", "transformers": "released",
}  # fmt: skip


def assemble(
    name: str | None,
    checkpoint: Checkpoint | None = None,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
    fresh_tokens: bool = False,
    config: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Makes one of our models and fills it; without a name, the one that the weights belong to.

    What was not asked for is as the checkpoint has it, and then as the variant has it.

    Raises:
        UnknownNameError: nothing is registered under the name.
        ConfigError: a field is unknown or its value makes no sense.
        CheckpointError: the weights do not fit.
    """
    variant = variant_named(name or _name_of(checkpoint))
    asked = dict(config or {})
    if num_classes is not None:
        asked["num_classes"] = num_classes
    if in_chans is not None:
        asked["in_chans"] = in_chans
    if checkpoint is None:
        return _identified(_construct(variant, configured(variant.config, asked)), variant, None, None)
    as_stored = _stored_config(variant, checkpoint)
    wanted = configured(as_stored, asked)
    options = {
        "fresh_head": num_classes is not None and num_classes != as_stored.num_classes,
        "fresh_tokens": fresh_tokens,
        "adapt_channels": getattr(wanted, "in_chans", 3) != getattr(as_stored, "in_chans", 3),
    }
    if checkpoint.config is not None:
        # A description may ask for more than its weights fill; nothing is allocated before that is ruled out.
        with torch.device("meta"):
            load_into(_construct(variant, wanted), checkpoint, allow_nonfinite=True, **options)
    model = _construct(variant, wanted)
    return _identified(model, variant, checkpoint, load_into(model, checkpoint, **options))


def variant_named(name: str) -> Variant:
    """Returns a registered variant.

    Raises:
        UnknownNameError: nothing is registered under the name; the nearest ones are offered.
    """
    if name not in VARIANTS:
        raise UnknownNameError(
            "model", name, VARIANTS, advice="See `sparsevision models`; timm's models are 'timm/NAME'."
        )
    return VARIANTS[name]


def configured(base: Any, changes: Mapping[str, Any]) -> Any:
    """Returns a configuration with some fields changed, every name and value checked.

    Raises:
        ConfigError: a field is unknown, or a value is of the wrong kind or out of range.
    """
    known = [field.name for field in fields(base)]
    for name in changes:
        if name not in known:
            raise UnknownNameError("field of the model's configuration", str(name), known)
    values = {**asdict(base), **changes}
    if "cortex_orders" in known and "cortex_orders" not in changes:
        values["cortex_orders"] = _orders(base, changes)
    try:
        return TypeAdapter(type(base)).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "the configuration"
        given = str(first["input"])[:60]
        raise ConfigError(
            f"{field} is {given!r}, which it cannot be: {first['msg'][0].lower()}{first['msg'][1:]}."
        ) from error


def _orders(base: Any, changes: Mapping[str, Any]) -> Any:
    """Lets the cortex units' operations follow from a changed depth or focusing unit, where they were not given."""
    if replace(base, cortex_orders=()) == base:
        return ()
    depth = changes.get("cortex_depth", base.cortex_depth)
    if not isinstance(depth, int) or depth < 1:
        return base.cortex_orders
    return (*base.cortex_orders, *[base.cortex_orders[-1]] * max(0, depth - base.cortex_depth))[:depth]


def _name_of(checkpoint: Checkpoint | None) -> str:
    if checkpoint is None:
        raise ConfigError("A model needs a name or a checkpoint that tells which it is.")
    if checkpoint.model_name is not None:
        return checkpoint.model_name
    likely = likely_variants(config_fields(checkpoint.state), checkpoint.layout)
    if len(likely) != 1:
        seems = f"could be {' or '.join(likely)}" if likely else "are those of no registered model"
        raise CheckpointError(
            f"{checkpoint.origin} does not say which model it is for, and its tensors' shapes {seems}: name the model."
        )
    return likely[0]


def _stored_config(variant: Variant, checkpoint: Checkpoint) -> Any:
    """Returns the configuration that the weights were made with, as far as they tell, else the variant's."""
    shapes = config_fields(checkpoint.state)
    if checkpoint.config is None:
        told: dict[str, Any] = {name: shapes[name] for name in ("num_classes", "in_chans") if name in shapes}
        if checkpoint.layout in _RELEASED:
            told["numerics"] = _RELEASED[checkpoint.layout]
        return replace(variant.config, **told)
    if checkpoint.model_name != variant.name:
        raise CheckpointError(
            f"{checkpoint.origin} holds weights of {checkpoint.model_name!r}, and {variant.name!r} was asked for: "
            "create the model that the weights are of."
        )
    try:
        stored = configured(variant.config, checkpoint.config)
    except ConfigError as error:
        raise CheckpointError(f"The configuration in {checkpoint.origin} is wrong. {error}") from error
    if wrong := disagreements(shapes, stored):
        raise CheckpointError(
            f"The configuration in {checkpoint.origin} contradicts its tensors: by shape, {', '.join(wrong[:3])}."
        )
    return stored


def _construct(variant: Variant, config: Any) -> nn.Module:
    return with_hub(variant.model_class)(config)


def _identified(model: Any, variant: Variant, checkpoint: Checkpoint | None, report: LoadReport | None) -> nn.Module:
    preprocessing = (checkpoint and checkpoint.preprocessing) or variant.preprocessing
    labels = checkpoint.labels if checkpoint else None
    facts = (checkpoint and checkpoint.facts) or ClassFacts()
    if report is not None and any(name.startswith(f"{head}.") for name in report.fresh for head in model.class_heads):
        labels, facts = None, ClassFacts()
    elif labels is None and checkpoint is not None and checkpoint.layout in _RELEASED:
        labels = released_labels(variant.family.task, model.config)
        if labels and variant.family.task == "detection":
            facts = ClassFacts(category_ids=tuple(range(len(labels))))  # these outputs are COCO's own numbers
    identify(model, Identity(variant.name, preprocessing, labels, report, facts=facts))
    model.default_cfg = timm_settings(variant)
    return model
