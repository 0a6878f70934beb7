"""The controls and choices of a trained model, checked against what the model offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from sparsevision.errors import ConfigError
from sparsevision.inference.options import checked_value
from sparsevision.types import Choice, Control, Option


def controls_of(model: nn.Module) -> Mapping[str, Control]:
    """Returns the controls of a model; timm's models have none."""
    found: Mapping[str, Control] = getattr(model, "controls", {})
    return found


def choices_of(model: nn.Module) -> Mapping[str, Choice]:
    """Returns the choices of a model."""
    found: Mapping[str, Choice] = getattr(model, "choices", {})
    return found


def options_of(model: nn.Module) -> dict[str, Control | Choice]:
    """Returns all that may change per call on a model, by name."""
    return {**controls_of(model), **choices_of(model)}


def checked_options(
    model: nn.Module, given: Mapping[str, Any], others: Mapping[str, Option] | None = None
) -> dict[str, Any]:
    """Returns checked values of a model's controls and choices; `others` are options that somebody else takes.

    Raises:
        ConfigError: a name is unknown, or a value is out of its control's range or not among a choice's values.
    """
    known, others = options_of(model), others or {}
    for name in given:
        if name not in known and name not in others:
            listed = ", ".join([*others, *known]) or "none"
            raise ConfigError(f"{type(model).__name__} takes no {name}: what may be chosen for it is {listed}.")
    return {name: checked_value(known[name], value) for name, value in given.items() if name in known}
