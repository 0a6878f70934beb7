"""Options of a model, a task or a figure: values that are given as text or in Python, checked against declarations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from torch import nn

from sparsevision.errors import ConfigError, UnknownNameError
from sparsevision.types import Choice, Control, Option, TextOption


def controls_of(model: nn.Module) -> Mapping[str, Control]:
    """Returns the controls that a model names; timm's models have none."""
    return getattr(model, "controls", {})


def choices_of(model: nn.Module) -> Mapping[str, Choice]:
    """Returns the choices that a model names."""
    return getattr(model, "choices", {})


def options_of(model: nn.Module) -> dict[str, Control | Choice]:
    """Returns all that may change per call on a model, by name."""
    return {**controls_of(model), **choices_of(model)}


def checked_options(model: nn.Module, given: Mapping[str, Any], others: Iterable[str] = ()) -> dict[str, Any]:
    """Returns checked values of the model's controls and choices; `others` are options that something else takes.

    Raises ConfigError for any other name or value.
    """
    known = options_of(model)
    for name in given:
        if name not in known and name not in others:
            listed = ", ".join([*others, *known]) or "none"
            raise ConfigError(f"{type(model).__name__} takes no {name}: what may be chosen for it is {listed}.")
    return {name: checked_value(known[name], value) for name, value in given.items() if name in known}


def resolve_options(
    given: Mapping[str, str | Sequence[str]], known: Iterable[Option], *, others: Iterable[str] = ()
) -> dict[str, Any]:
    """Turns options of a command line into {name: checked value}: numbers for controls, text for others.

    Args:
        given: text by option name, "keep-ratio" and "keep_ratio" being the same; several texts become a list of values.
        known: the declarations, of the model, its task and whatever else takes options.
        others: names of the command's own options, which a mistyped name may have meant.

    Raises:
        UnknownNameError: a name is not declared, or a value is not among those of a choice.
        ConfigError: a value is missing, not a number or outside of its range.
    """
    declared = {option.name: option for option in known}
    resolved: dict[str, Any] = {}
    for name, texts in given.items():
        name = name.lstrip("-").replace("-", "_")
        if name not in declared and name in {other.replace("-", "_") for other in others}:
            # The command has read its own options already, but for those behind "--".
            raise ConfigError(f"{flag(name)} stands behind --, where names of files stand: give it before --.")
        if name not in declared:
            flags, own = [flag(each) for each in (*declared, *others)], ", ".join(map(flag, declared))
            advice = f"What may be chosen for this model is {own}." if own else ""
            raise UnknownNameError("option of this model or command", flag(name), flags, advice=advice)
        if not texts:
            raise ConfigError(f"{flag(name)} is given without a value ({declared[name].description}).")
        option = declared[name]
        resolved[name] = _parsed(option, texts) if isinstance(texts, str) else [_parsed(option, text) for text in texts]
    return resolved


def checked_value(option: Option, value: Any) -> Any:
    """Returns a value that an option may have; numbers of a control as float, or int where it is whole.

    Raises UnknownNameError or ConfigError for any other value.
    """
    if isinstance(option, TextOption):
        return str(value)
    if isinstance(option, Choice):
        if value not in option.values:
            raise UnknownNameError(f"{option.name} in this model", str(value), option.values)
        return str(value)
    # NumPy's numbers are numbers, too, and so are arrays and tensors of one.
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not option.minimum <= value <= option.maximum or (option.whole and value != int(value)):
        kind = "a whole number " if option.whole else "" if number else "a number "
        shown = value if number else repr(value)[:80]
        raise ConfigError(
            f"{option.name} is {shown}; it must be {kind}from {option.minimum:g} to {option.maximum:g} "
            f"({option.description})."
        )
    return int(value) if option.whole else float(value)


def flag(name: str) -> str:
    """Returns an option as it is typed: "--keep-ratio"."""
    return "--" + name.lstrip("-").replace("_", "-")


def _parsed(option: Option, text: str) -> Any:
    if not isinstance(option, Control):
        return checked_value(option, text)
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(f"{flag(option.name)} is {text!r}; it must be a number ({option.description}).") from None
    return checked_value(option, int(value) if option.whole and value.is_integer() else value)
