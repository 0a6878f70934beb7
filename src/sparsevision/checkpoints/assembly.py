"""A model from a name, overrides and weights: configuration first, checked against the weights, then the model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from sparsevision.checkpoints.checkpoint import Checkpoint, LoadReport
from sparsevision.checkpoints.cost import check_cost
from sparsevision.checkpoints.hub import with_hub
from sparsevision.checkpoints.identity import Identity
from sparsevision.checkpoints.labels import public_classes, rows_by_name
from sparsevision.checkpoints.layouts import (
    FREE_FIELDS,
    disagreements,
    infer_config,
    layout_named,
    likely_variants,
    naming_of,
)
from sparsevision.checkpoints.loading import load_into
from sparsevision.checkpoints.timm_models import timm_settings
from sparsevision.errors import CheckpointError, ConfigError, UnknownNameError
from sparsevision.models.registry import NamedVariant, variant_named
from sparsevision.types import ClassMetadata, Preprocessing

# Fields that hardly change what predicting costs.
_FREE = (*FREE_FIELDS, "dropout", "drop_path_rate", "frozen_stages")


def assemble(
    name: str | None, checkpoint: Checkpoint | None = None, *, num_classes: int | None = None,
    in_chans: int | None = None, fresh_tokens: bool = False, labels: Sequence[str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> nn.Module:  # fmt: skip
    """Makes one of our models and fills it, as `create_model` does; without a name, the one that the weights belong to.

    Values that are not given are those of the checkpoint, and then those of the variant. `labels` name the outputs.
    """
    variant = variant_named(name or named_by(checkpoint))
    counts = {"num_classes": num_classes, "in_chans": in_chans}
    asked = {**(config or {}), **{name: count for name, count in counts.items() if count is not None}}
    if checkpoint is None:
        return _identified(_construct(variant, configured(variant.config, asked)), variant, None, None, labels)
    checkpoint = _converted(variant, checkpoint, asked)
    as_stored = _stored_config(variant, checkpoint)
    wanted = configured(as_stored, asked)
    # Looked up where they are needed alone: the names of a public label set lie in other libraries.
    theirs = None if labels is None else _known_classes(variant, checkpoint, as_stored.num_classes)[0]
    options: dict[str, Any] = {
        "fresh_head": num_classes is not None and num_classes != as_stored.num_classes,
        "fresh_tokens": fresh_tokens,
        "rows": rows_by_name(theirs, labels),
        "adapt_channels": getattr(wanted, "in_chans", 3) != getattr(as_stored, "in_chans", 3),
    }
    if checkpoint.config is not None:
        # A description may ask for more than its weights fill; nothing is allocated before that is ruled out.
        with torch.device("meta"):
            probe = _construct(variant, wanted)
        load_into(probe, checkpoint, allow_nonfinite=True, **options)
        preprocessing = checkpoint.preprocessing or variant.preprocessing
        if not _is_usual(variant, wanted, preprocessing):
            check_cost(probe, preprocessing.input_shape(getattr(wanted, "in_chans", 3)), checkpoint.origin)
    model = _construct(variant, wanted)
    return _identified(model, variant, checkpoint, load_into(model, checkpoint, **options), labels)


def _known_classes(
    variant: NamedVariant, checkpoint: Checkpoint, outputs: int
) -> tuple[tuple[str, ...] | None, ClassMetadata]:
    """Returns names and metadata of the outputs that weights have, or that a released head is known to have."""
    if checkpoint.labels is not None or layout_named(checkpoint.layout) is None:
        return checkpoint.labels, checkpoint.class_metadata or ClassMetadata()
    return public_classes(getattr(naming_of(variant.family), "LABEL_SETS", {}).get(outputs))


def configured(base: Any, changes: Mapping[str, Any]) -> Any:
    """Returns a configuration with some fields changed; raises ConfigError for an unknown field or a wrong value."""
    known = [field.name for field in fields(base)]
    for name in changes:
        if name not in known:
            raise UnknownNameError("field of the model's configuration", str(name), known)
    values = {**asdict(base), **changes}
    try:
        return TypeAdapter(type(base)).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "the configuration"
        given = str(first["input"])[:60]
        raise ConfigError(
            f"{field} is {given!r}, which it cannot be: {first['msg'][0].lower()}{first['msg'][1:]}."
        ) from error


def named_by(checkpoint: Checkpoint | None) -> str:
    """Returns the model that weights are of; raises CheckpointError where they do not tell, ConfigError without any."""
    if checkpoint is None:
        raise ConfigError("A model needs a name or a checkpoint that names it.")
    if checkpoint.model_name is not None:
        return checkpoint.model_name
    likely = likely_variants(checkpoint.state, checkpoint.layout)
    if len(likely) != 1:
        seems = f"could be {' or '.join(likely)}" if likely else "are those of no registered model"
        raise CheckpointError(
            f"{checkpoint.origin} does not name its model, and its tensors' shapes {seems}: name the model."
        )
    return likely[0]


def _stored_config(variant: NamedVariant, checkpoint: Checkpoint) -> Any:
    """Returns the configuration that the weights were made with, as far as they tell, else the variant's."""
    if checkpoint.config is None:
        shapes = infer_config(checkpoint.state)
        found = {name: shapes[name] for name in ("num_classes", "in_chans") if name in shapes}
        layout = layout_named(checkpoint.layout)
        return replace(variant.config, **found, **(layout.fields if layout else {}))
    if checkpoint.model_name != variant.name:
        raise CheckpointError(
            f"{checkpoint.origin} holds weights of {checkpoint.model_name!r}, and {variant.name!r} was asked for: "
            "create the model that the weights are of."
        )
    try:
        stored = configured(variant.config, checkpoint.config)
    except ConfigError as error:
        raise CheckpointError(f"The configuration in {checkpoint.origin} is wrong. {error}") from error
    if wrong := disagreements(checkpoint.state, stored):
        raise CheckpointError(
            f"The configuration in {checkpoint.origin} contradicts its tensors: by shape, {', '.join(wrong[:3])}."
        )
    return stored


def _converted(variant: NamedVariant, checkpoint: Checkpoint, asked: Mapping[str, Any]) -> Checkpoint:
    """Returns weights of another network as those of this one, where its class knows how: an image network's for clips.

    Fields of the configuration that conversion adds are those asked for.
    """
    network: Any = variant.family.model_class
    if not hasattr(network, "converts") or not network.converts(checkpoint.state):
        return checkpoint
    if checkpoint.model_name not in (None, variant.config.classifier):
        raise CheckpointError(
            f"{checkpoint.origin} holds weights of {checkpoint.model_name!r}; {variant.name!r} starts from those of "
            f"{variant.config.classifier!r}."
        )
    layout = layout_named(checkpoint.layout)
    shapes = infer_config(checkpoint.state)
    stored = {name: shapes[name] for name in FREE_FIELDS if name in shapes}
    stored |= checkpoint.config or (layout.fields if layout else {})
    stored |= {name: asked[name] for name in network.conversion_fields if name in asked}
    config = configured(variant.config, stored)
    return replace(
        checkpoint, state=network.convert(checkpoint.state, config), config=asdict(config), model_name=variant.name,
        preprocessing=checkpoint.preprocessing and variant.preprocessing.of_images(checkpoint.preprocessing),
    )  # fmt: skip


def _is_usual(variant: NamedVariant, config: Any, preprocessing: Preprocessing) -> bool:
    """Returns whether a model costs about what the variant does: all but its head and first convolution agree."""
    free = {name: getattr(variant.config, name) for name in _FREE if hasattr(variant.config, name)}
    pixels = math.prod(preprocessing.input_shape(1))
    return replace(config, **free) == variant.config and pixels <= math.prod(variant.preprocessing.input_shape(1))


def _construct(variant: NamedVariant, config: Any) -> nn.Module:
    return with_hub(variant.family)(config)


def _identified(
    model: Any, variant: NamedVariant, checkpoint: Checkpoint | None, report: LoadReport | None,
    names: Sequence[str] | None,
) -> nn.Module:  # fmt: skip
    preprocessing = (checkpoint and checkpoint.preprocessing) or variant.preprocessing
    known: tuple[tuple[str, ...] | None, ClassMetadata] = (None, ClassMetadata())
    if checkpoint is not None and not (report is not None and _has_fresh_head(model, report)):
        known = _known_classes(variant, checkpoint, model.config.num_classes)
    labels, metadata = known if names is None or tuple(names) == known[0] else (tuple(names), ClassMetadata())
    model.identity = Identity(
        name=variant.name, preprocessing=preprocessing, labels=labels, report=report, class_metadata=metadata
    )
    model.default_cfg = timm_settings(variant)
    return model


def _has_fresh_head(model: Any, report: LoadReport) -> bool:
    return any(name.startswith(f"{head}.") for name in report.fresh for head in model.class_heads)
