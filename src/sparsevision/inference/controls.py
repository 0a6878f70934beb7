"""What may change per call on a trained model, checked against what the model names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from sparsevision.errors import ConfigError
from sparsevision.types import Control


def controls_of(model: nn.Module) -> Mapping[str, Control]:
    """Returns the controls that a model names; timm's models have none."""
    found: Mapping[str, Control] = getattr(model, "controls", {})
    return found


def checked_options(model: nn.Module, given: Mapping[str, Any], others: tuple[str, ...] = ()) -> dict[str, float]:
    """Returns what is given for the model's controls; `others` are options that somebody else takes.

    Raises:
        ConfigError: a name is neither, or a value is out of its control's range.
    """
    controls = controls_of(model)
    for name in given:
        if name not in controls and name not in others:
            known = ", ".join([*others, *controls]) or "none"
            raise ConfigError(f"{type(model).__name__} takes no {name}: what may be chosen for it is {known}.")
    return {name: _checked(controls[name], value) for name, value in given.items() if name in controls}


def _checked(control: Control, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not control.minimum <= value <= control.maximum:
        raise ConfigError(
            f"{control.name} is {value}; it must be from {control.minimum:g} to {control.maximum:g} "
            f"({control.description})."
        )
    return float(value)
