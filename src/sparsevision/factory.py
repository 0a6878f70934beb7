"""Models by name: made, filled with weights, listed; the one door that other rooms and users come through."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparsevision.checkpoints import read_checkpoint, timm_models
from sparsevision.checkpoints.assembly import assemble, named_by
from sparsevision.checkpoints.checkpoint import Checkpoint
from sparsevision.checkpoints.downloads import released_weights, weights_status
from sparsevision.checkpoints.hub import HubModel, fetch_from_hub
from sparsevision.checkpoints.identity import Identity, identity_of
from sparsevision.checkpoints.timm_models import is_timm_model, make_timm_model, timm_preprocessing
from sparsevision.errors import ConfigError, UnknownNameError, first_line
from sparsevision.models.published import count_parameters, counted_parameters
from sparsevision.models.registry import TIMM, is_registered, variant_named, variants
from sparsevision.runtimes import is_exported, open_exported
from sparsevision.types import Preprocessing

Source = str | os.PathLike[str] | Mapping[str, Any]
HUB_PREFIX = "hf-hub:"

__all__ = [
    "HubModel", "Identity", "ModelSummary", "check_name", "create_model", "identity_of", "list_models", "load_model",
    "open_model", "preprocessing_of", "summarise_models",
]  # fmt: skip


def create_model(
    name: str,
    pretrained: bool = False,
    checkpoint: Source | Checkpoint | None = None,
    num_classes: int | None = None,
    in_chans: int | None = None,
    *,
    fresh_tokens: bool = False,
    labels: Sequence[str] | None = None,
    **config: Any,
) -> nn.Module:
    """Makes a model by name, with fresh, published or given weights.

    The model carries an `identity`: its preprocessing, its labels, and the report of what loading did.

    Args:
        name: one of `list_models()`, with or without a tag of its weights, or "timm/NAME" for a model of timm's.
        pretrained: take the published weights of the tag, or the first; they are fetched once and cached.
        checkpoint: a file or folder of weights, "hf-hub:USER/NAME", or a state dict, in any known layout. Its
            numerics, outputs and, where it tells, its whole configuration are used unless other ones are asked for
            here.
        num_classes: outputs; a head of another size than the weights have starts fresh, as the report lists.
            0 leaves the features.
        in_chans: channels of the image; the first convolution's weights are summed or repeated to fit.
        fresh_tokens: initialise tokens and regions anew where `num_tokens` is not what the weights have (Table 4).
        labels: names of the outputs. Where the weights name theirs, an output gets the weights of the class of its
            name, and starts fresh where there is none.
        config: fields of the model's configuration.

    Raises:
        UnknownNameError: no such model, or no such field of its configuration.
        ConfigError: a value is invalid.
        CheckpointError: weights are missing, damaged or do not fit.
    """
    if pretrained and checkpoint is not None:
        raise ConfigError("pretrained=True and checkpoint= were both given: choose one source of weights.")
    num_classes = len(labels) if labels is not None and num_classes is None else num_classes
    _check_count("num_classes", num_classes, 0)
    if labels is not None and len(labels) != num_classes:
        raise ConfigError(f"There are {len(labels)} labels for num_classes = {num_classes}: they must be as many.")
    _check_count("in_chans", in_chans, 1)
    given = _read(checkpoint)
    if is_timm_model(name):
        return make_timm_model(
            name, given, pretrained=pretrained, num_classes=num_classes, in_chans=in_chans, labels=labels,
            config=config,
        )  # fmt: skip
    variant = variant_named(name)
    if pretrained:
        given = read_checkpoint(released_weights(variant))
    return assemble(
        name, given, num_classes=num_classes, in_chans=in_chans, fresh_tokens=fresh_tokens, labels=labels,
        config=config,
    )  # fmt: skip


def load_model(checkpoint: Source | Checkpoint) -> nn.Module:
    """Makes the model that weights belong to, by their description or else by their shapes.

    Raises:
        CheckpointError: the weights are missing or damaged, or do not tell which model they are for.
    """
    given = _read(checkpoint)
    if given is not None and given.model_name is not None and is_timm_model(given.model_name):
        return make_timm_model(given.model_name, given)
    return assemble(None, given)


def model_of(path: Source) -> tuple[str, Preprocessing | None]:
    """Returns the name of the model that weights are of, and the preprocessing that they carry, if any.

    Raises CheckpointError where the weights do not tell.
    """
    given = _read(path)
    assert given is not None
    return named_by(given), given.preprocessing


def is_known(name: str) -> bool:
    """Returns whether a name is that of a registered model, or of timm's."""
    return is_registered(name) or (is_timm_model(name) and not Path(name).exists())


def open_model(name_or_path: str | os.PathLike[str]) -> nn.Module:
    """Makes a trained model from whatever names one.

    A registered name, with or without a tag of its weights, or "timm/NAME" gives the published weights,
    "hf-hub:USER/NAME" a model of the Hub, the path of an exported file (.onnx, .xml) its graph, and anything else is
    the path of a checkpoint.

    Raises:
        UnknownNameError: it is neither a model nor a path.
        CheckpointError: the weights are missing or damaged.
    """
    text = os.fspath(name_or_path)
    if is_known(text):
        return create_model(text, pretrained=True)
    if is_exported(text):
        return open_exported(text)
    if text.startswith(HUB_PREFIX):
        return HubModel.from_pretrained(text.removeprefix(HUB_PREFIX))  # type: ignore[return-value]
    if not looks_like_path(text):
        raise UnknownNameError("model or checkpoint", text, variants())
    return load_model(text)


def looks_like_path(text: str) -> bool:
    """Returns whether text that is not a model's name is a path of weights, which may be missing.

    Raises UnknownNameError for a model with a tag that it does not have.
    """
    path = Path(text)
    if path.exists() or len(path.parts) > 1 or path.suffix in (".safetensors", ".pth", ".pt", ".bin", ".ckpt"):
        return True
    if text.partition(".")[0] in variants():
        variant_named(text)
    return bool(path.suffix)


def list_models(pattern: str = "*") -> list[str]:
    """Lists the models whose names fit a glob pattern; those of timm only where the pattern begins with "timm/".

    A pattern with a full stop is compared with names that have a tag: `*.*` lists all published weights.
    """
    if is_timm_model(pattern):
        return timm_models.timm_names(pattern)
    tagged = (name for variant in variants().values() for name in variant.tagged_names)
    return sorted(name for name in (tagged if "." in pattern else variants()) if fnmatchcase(name, pattern))


@dataclass(frozen=True, kw_only=True)
class ModelSummary:
    """One row of a table of models.

    `tags` are those of the published weights, and `weights` tells where those of the first lie. `reported` is what the
    weights' authors report, in percent: top-1 accuracy on ImageNet-1K of a classifier, AP on COCO val2017 of a
    detector.
    """

    name: str
    task: str
    parameters: int | None
    input_size: tuple[int, int]
    classes: int
    weights: str
    reported: float | None
    paper: str
    tags: tuple[str, ...] = ()


def fitting_models(pattern: str) -> list[str]:
    """Lists the models whose names fit a glob pattern, as `list_models`; raises UnknownNameError where none does."""
    names = list_models(pattern)
    if not names:
        known = timm_models.timm_names("timm/*") if is_timm_model(pattern) else variants()
        raise UnknownNameError("model", pattern, known)
    return names


def summarise_models(pattern: str = "*") -> list[ModelSummary]:
    """Describes the models whose names fit a glob pattern; the parameters are counted without allocating any.

    timm's models are not built for it, so their number of parameters is None. Raises UnknownNameError where no name
    fits the pattern.
    """
    return [_summary_of_timm(name) if is_timm_model(name) else _summary(name) for name in fitting_models(pattern)]


def _summary(name: str) -> ModelSummary:
    variant = variant_named(name)
    parameters = counted_parameters().get(variant.name)
    if parameters is None:  # somebody else's family
        with torch.device("meta"):
            parameters = count_parameters(create_model(name))
    return ModelSummary(
        name=name, task=variant.family.task, parameters=parameters, input_size=variant.preprocessing.size,
        classes=variant.config.num_classes, weights=weights_status(variant),
        reported=variant.weights.reported if variant.weights else None, paper=variant.paper, tags=variant.tags,
    )  # fmt: skip


def _summary_of_timm(name: str) -> ModelSummary:
    settings = timm_models.published_settings(name)
    return ModelSummary(
        name=name, task=TIMM.task, parameters=None, input_size=timm_preprocessing(name).size,
        classes=settings.get("num_classes", 0), reported=None, paper=TIMM.name,
        weights="download" if settings.get("hf_hub_id") or settings.get("url") else "none",
    )  # fmt: skip


def check_name(name: str) -> None:
    """Raises UnknownNameError with the nearest names unless `create_model` knows a name."""
    (timm_models.check_timm_name if is_timm_model(name) else variant_named)(name)


def preprocessing_of(name: str) -> Preprocessing:
    """Returns the preprocessing of a model, by the model's name."""
    return timm_preprocessing(name) if is_timm_model(name) else variant_named(name).preprocessing


# Of a model in memory that carries no identity.
DEFAULT_TASK = TIMM.task


def task_of(name: str) -> str:
    """Returns the task that a model is for, by its name."""
    return (TIMM if is_timm_model(name) else variant_named(name).family).task


def usable_device(name: str | torch.device) -> torch.device:
    """Returns the device of a name, once it has held a tensor; raises ConfigError if it is not available here."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    # An unknown word, a device that is not there, or a torch built without it: torch has an error for each.
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        reason = "this build of torch has none" if isinstance(error, NotImplementedError) else first_line(error)
        raise ConfigError(f"The device {str(name)!r} cannot be used here ({reason}).") from error
    return device


def _read(source: Source | Checkpoint | None) -> Checkpoint | None:
    if source is None or isinstance(source, Checkpoint):
        return source
    if isinstance(source, str) and source.startswith(HUB_PREFIX):
        return read_checkpoint(fetch_from_hub(source.removeprefix(HUB_PREFIX)))
    return read_checkpoint(source)


def _check_count(field: str, value: int | None, least: int) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
        raise ConfigError(f"{field} is {value!r}; it must be a whole number of at least {least}.")
