"""timm's models by the name "timm/NAME": peers to compare with, teachers to learn from.

timm is imported by the functions that ask it something: that takes seconds, and a command on our own models needs
none of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from sparsevision.checkpoints.checkpoint import Checkpoint
from sparsevision.checkpoints.identity import Identity, identify
from sparsevision.checkpoints.labels import imagenet_labels
from sparsevision.checkpoints.loading import load_into
from sparsevision.errors import CheckpointError, ConfigError, UnknownNameError
from sparsevision.types import Preprocessing

PREFIX = "timm/"


def is_timm_model(name: str) -> bool:
    """Returns whether a name is one of timm's models."""
    return name.startswith(PREFIX)


def make_timm_model(
    name: str,
    checkpoint: Checkpoint | None = None,
    *,
    pretrained: bool = False,
    num_classes: int | None = None,
    in_chans: int | None = None,
    config: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Makes timm's model of the name after "timm/"; weights may be timm's own, or a checkpoint in timm's names.

    Raises:
        UnknownNameError: timm has no model of that name.
        ConfigError: timm does not take an option.
        CheckpointError: the weights cannot be fetched or do not fit.
    """
    check_timm_name(name)
    stored = dict(checkpoint.config or {}) if checkpoint else {}
    classes = num_classes if num_classes is not None else stored.get("num_classes", _outputs(name, checkpoint))
    asked = {"num_classes": classes, "in_chans": in_chans or stored.get("in_chans")}
    options = {**stored, **{key: value for key, value in asked.items() if value is not None}, **(config or {})}
    model = _make(name, pretrained, options)
    report = None
    if checkpoint is not None:
        report = load_into(model, checkpoint, fresh_head=num_classes is not None)
    labels = checkpoint.labels if checkpoint else None
    if pretrained and num_classes is None and getattr(model, "num_classes", None) == 1000:
        labels = imagenet_labels()
    preprocessing = (checkpoint and checkpoint.preprocessing) or timm_preprocessing(name)
    labels = None if report and report.fresh else labels
    found = Identity(name=name, preprocessing=preprocessing, labels=labels, report=report, options=options)
    identify(model, found)
    return model


def timm_preprocessing(name: str) -> Preprocessing:
    """Returns the preprocessing that timm uses for a model."""
    from timm.data.config import resolve_data_config

    check_timm_name(name)
    settings = resolve_data_config({}, pretrained_cfg=published_settings(name))
    return Preprocessing(
        size=settings["input_size"][-2:],
        fit="stretch" if settings["crop_mode"] == "squash" else "crop",
        crop_fraction=settings["crop_pct"],
        interpolation="bilinear" if settings["interpolation"] == "bilinear" else "bicubic",
        mean=settings["mean"],
        std=settings["std"],
    )


def timm_names(pattern: str) -> list[str]:
    """Lists timm's models whose "timm/NAME" fits a glob pattern."""
    import timm

    return [PREFIX + name for name in timm.list_models(pattern.removeprefix(PREFIX))]


def check_timm_name(name: str) -> None:
    """Raises UnknownNameError unless timm has a model of the name."""
    import timm

    bare = name.removeprefix(PREFIX)
    if not timm.is_model(bare.split(".", 1)[0]):
        raise UnknownNameError("timm model", bare, timm.list_models())


def published_settings(name: str) -> dict[str, Any]:
    """Returns a model's entry in timm's registry: input, head and weights."""
    import timm

    found = timm.get_pretrained_cfg(name.removeprefix(PREFIX))
    return found.to_dict() if found is not None else {}


def _make(name: str, pretrained: bool, options: Mapping[str, Any]) -> nn.Module:
    import timm

    bare = name.removeprefix(PREFIX)
    try:
        return timm.create_model(bare, pretrained=pretrained, **options)
    except TypeError as error:
        raise ConfigError(f"timm's {bare} does not take an option that was given: {error}.") from error
    # timm fetches through several libraries, each with its own errors.
    except Exception as error:
        if not pretrained:
            raise
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"timm could not fetch the weights of {bare!r} ({type(error).__name__}: {reason}): "
            "give a checkpoint that is here."
        ) from error


def _outputs(name: str, checkpoint: Checkpoint | None) -> int | None:
    """Reads the number of outputs off a checkpoint's classifier."""
    if checkpoint is None:
        return None
    classifier = published_settings(name).get("classifier")
    weight = checkpoint.state.get(f"{classifier}.weight") if isinstance(classifier, str) else None
    return None if weight is None else weight.shape[0]
