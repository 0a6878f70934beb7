"""Controls and choices of a trained model, which may change per call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from sparsevision.errors import ConfigError
from sparsevision.inference.options import checked_value
from sparsevision.types import Choice, Control


def controls_of(model: nn.Module) -> Mapping[str, Control]:
    """Returns the controls that a model names; timm's models have none."""
    found: Mapping[str, Control] = getattr(model, "controls", {})
    return found


def choices_of(model: nn.Module) -> Mapping[str, Choice]:
    """Returns the choices that a model names."""
    found: Mapping[str, Choice] = getattr(model, "choices", {})
    return found


def checked_options(model: nn.Module, given: Mapping[str, Any], others: Iterable[str] = ()) -> dict[str, Any]:
    """Returns what is given for the model's controls and choices; `others` are options of somebody else.

    Raises:
        ConfigError: a name is neither, or a value is out of its control's range or none of the ways to choose.
    """
    known: dict[str, Control | Choice] = {**controls_of(model), **choices_of(model)}
    for name in given:
        if name not in known and name not in others:
            listed = ", ".join([*others, *known]) or "none"
            raise ConfigError(f"{type(model).__name__} takes no {name}: what may be chosen for it is {listed}.")
    return {name: checked_value(known[name], value) for name, value in given.items() if name in known}
