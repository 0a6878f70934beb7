"""What may change per call on a trained model, checked against what the model names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from sparsevision.errors import ConfigError, UnknownNameError
from sparsevision.types import Choice, Control


def controls_of(model: nn.Module) -> Mapping[str, Control]:
    """Returns the controls that a model names; timm's models have none."""
    found: Mapping[str, Control] = getattr(model, "controls", {})
    return found


def choices_of(model: nn.Module) -> Mapping[str, Choice]:
    """Returns the choices that a model names."""
    found: Mapping[str, Choice] = getattr(model, "choices", {})
    return found


def checked_options(model: nn.Module, given: Mapping[str, Any], others: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns what is given for the model's controls and choices; `others` are options that somebody else takes.

    Raises:
        ConfigError: a name is neither, or a value is out of its control's range or none of the ways to choose.
    """
    known: dict[str, Control | Choice] = {**controls_of(model), **choices_of(model)}
    for name in given:
        if name not in known and name not in others:
            listed = ", ".join([*others, *known]) or "none"
            raise ConfigError(f"{type(model).__name__} takes no {name}: what may be chosen for it is {listed}.")
    return {name: _checked(known[name], value) for name, value in given.items() if name in known}


def _checked(control: Control | Choice, value: Any) -> float | str:
    if isinstance(control, Choice):
        if value not in control.values:
            raise UnknownNameError(f"{control.name} in this model", str(value), control.values)
        return str(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not control.minimum <= value <= control.maximum:
        raise ConfigError(
            f"{control.name} is {value}; it must be from {control.minimum:g} to {control.maximum:g} "
            f"({control.description})."
        )
    return float(value)
