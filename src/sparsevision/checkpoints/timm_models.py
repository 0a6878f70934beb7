"""timm's models by the name "timm/NAME": peers to compare with, teachers to learn from.

timm is imported by the functions that ask it something: that takes seconds, and a command on our own models needs
none of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from sparsevision.checkpoints.checkpoint import Checkpoint
from sparsevision.checkpoints.cost import check_cost
from sparsevision.checkpoints.identity import Identity
from sparsevision.checkpoints.labels import imagenet_labels, rows_by_name
from sparsevision.checkpoints.loading import load_into
from sparsevision.errors import CheckpointError, ConfigError, UnknownNameError, first_line
from sparsevision.models.registry import NamedVariant, variants
from sparsevision.models.timm_options import check_options
from sparsevision.types import Preprocessing

PREFIX = "timm/"


def is_timm_model(name: str) -> bool:
    """Returns whether a name is one of timm's models."""
    return name.startswith(PREFIX)


def make_timm_model(
    name: str, checkpoint: Checkpoint | None = None, *, pretrained: bool = False, num_classes: int | None = None,
    in_chans: int | None = None, labels: Sequence[str] | None = None, config: Mapping[str, Any] | None = None,
) -> nn.Module:  # fmt: skip
    """Makes timm's model of the name after "timm/", as `create_model` does, from timm's weights or a checkpoint."""
    check_timm_name(name)
    check_options(config or {})
    stored = dict(checkpoint.config or {}) if checkpoint else {}
    try:
        check_options(stored)
    except ConfigError as error:
        assert checkpoint is not None
        raise CheckpointError(f"The configuration in {checkpoint.origin} is refused. {error}") from error
    rows = rows_by_name(checkpoint.labels if checkpoint else None, labels)
    classes = num_classes if num_classes is not None else stored.get("num_classes", _outputs(name, checkpoint))
    asked = {"num_classes": classes, "in_chans": in_chans or stored.get("in_chans")}
    options = {**stored, **{key: value for key, value in asked.items() if value is not None}, **(config or {})}
    bare = name.removeprefix(PREFIX)
    if checkpoint is not None and checkpoint.config is not None:
        # A description may ask for more than its weights fill; nothing is allocated before that is ruled out.
        probe = _shapes_of(bare, options, checkpoint.origin)
        load_into(probe, checkpoint, fresh_head=num_classes is not None, allow_nonfinite=True, rows=rows)
        usual = set(options) <= {"num_classes", "in_chans"} and checkpoint.preprocessing == timm_preprocessing(name)
        if checkpoint.preprocessing is not None and not usual:
            check_cost(probe, checkpoint.preprocessing.input_shape(options.get("in_chans", 3)), checkpoint.origin)
    model: Any = make_bare(bare, pretrained=pretrained, **options)
    report = None
    if checkpoint is not None:
        report = load_into(model, checkpoint, fresh_head=num_classes is not None, rows=rows)
    known = checkpoint.labels if checkpoint and not (report and report.fresh) else None
    if pretrained and num_classes is None and getattr(model, "num_classes", None) == 1000:
        known = imagenet_labels()
    preprocessing = (checkpoint and checkpoint.preprocessing) or timm_preprocessing(name)
    names = known if labels is None else tuple(labels)
    model.identity = Identity(name=name, preprocessing=preprocessing, labels=names, report=report, options=options)
    return model


def _shapes_of(bare: str, options: Mapping[str, Any], origin: str) -> nn.Module:
    """Makes a model on the meta device."""
    try:
        with torch.device("meta"):
            return make_bare(bare, **options)
    # timm's models raise nearly anything for values that they cannot have.
    except Exception as error:
        raise CheckpointError(
            f"The configuration in {origin} is refused: timm makes no {bare} of it ({first_line(error)})."
        ) from error


def timm_preprocessing(name: str) -> Preprocessing:
    """Returns the preprocessing that timm uses for a model."""
    from timm.data.config import resolve_data_config

    check_timm_name(name)
    settings = resolve_data_config({}, pretrained_cfg=published_settings(name))
    return Preprocessing(
        size=settings["input_size"][-2:], fit="stretch" if settings["crop_mode"] == "squash" else "crop",
        crop_fraction=settings["crop_pct"],
        interpolation="bilinear" if settings["interpolation"] == "bilinear" else "bicubic", mean=settings["mean"],
        std=settings["std"],
    )  # fmt: skip


def timm_settings(variant: NamedVariant) -> dict[str, Any]:
    """Returns a variant's input, head and weights as timm's `pretrained_cfg` and `default_cfg` name them."""
    preprocessing = variant.preprocessing
    model: Any = variant.family.model_class
    heads = model.class_heads  # of a detector they depend on its configuration
    weights = variant.weights.location if variant.weights is not None else None
    return {
        "url": weights if weights is not None and "://" in weights else None, "num_classes": variant.config.num_classes,
        "input_size": preprocessing.input_shape(getattr(variant.config, "in_chans", 3)), "fixed_input_size": False,
        "pool_size": None, "crop_pct": preprocessing.crop_fraction,
        "crop_mode": "squash" if preprocessing.fit == "stretch" else "center",
        "interpolation": preprocessing.interpolation, "mean": preprocessing.mean, "std": preprocessing.std,
        "first_conv": getattr(model, "first_conv", None), "classifier": heads[0] if isinstance(heads, tuple) else None,
        "paper_ids": variant.paper,
    }  # fmt: skip


def timm_description(
    name: str, model: Any, preprocessing: Preprocessing, labels: Sequence[str] | None
) -> dict[str, Any]:
    """Returns what timm reads in a folder's config.json; nothing for a model that timm has not, or has itself."""
    variant = variants().get(name)
    if variant is None or not variant.family.answers_timm or not hasattr(model, "config"):
        return {}
    settings = timm_settings(replace(variant, preprocessing=preprocessing, weights=None))
    named, own = asdict(variant.config), asdict(model.config)
    changed = {field: value for field, value in own.items() if value != named[field] and field != "num_classes"}
    return {
        "architecture": name, "num_classes": model.num_classes, "num_features": model.num_features,
        "pretrained_cfg": settings, "label_names": None if labels is None else list(labels),
        "model_args": changed,
    }  # fmt: skip


def timm_names(pattern: str) -> list[str]:
    """Lists timm's models whose "timm/NAME" fits a glob pattern."""
    import timm

    return [PREFIX + name for name in timm.list_models(pattern.removeprefix(PREFIX))]


def check_timm_name(name: str) -> None:
    """Raises UnknownNameError unless timm has a model of the name."""
    import timm

    bare = name.removeprefix(PREFIX)
    if not re.fullmatch(r"[\w.]+", bare) or not timm.is_model(bare.split(".", 1)[0]):
        raise UnknownNameError("timm model", bare[:80], timm.list_models())


def published_settings(name: str) -> dict[str, Any]:
    """Returns a model's entry in timm's registry: input, head and weights."""
    import timm

    found = timm.get_pretrained_cfg(name.removeprefix(PREFIX))
    return found.to_dict() if found is not None else {}


def make_bare(name: str, *, pretrained: bool = False, **options: Any) -> nn.Module:
    """Makes timm's model without an identity; `name` is that after "timm/"."""
    import timm

    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except TypeError as error:
        raise ConfigError(f"timm's {name} does not take an option that was given: {first_line(error)}.") from error
    # timm fetches through several libraries, each with its own errors.
    except Exception as error:
        if not pretrained:
            raise
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise CheckpointError(
            f"timm could not fetch the weights of {name!r} ({reason}): give a file of them."
        ) from error


def _outputs(name: str, checkpoint: Checkpoint | None) -> int | None:
    """Reads the number of outputs off a checkpoint's classifier."""
    if checkpoint is None:
        return None
    classifier = published_settings(name).get("classifier")
    weight = checkpoint.state.get(f"{classifier}.weight") if isinstance(classifier, str) else None
    return None if weight is None else weight.shape[0]
