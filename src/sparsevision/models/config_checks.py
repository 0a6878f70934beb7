"""Checks that configurations of all families share: what the fields' types tell, and no more."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from sparsevision.errors import ConfigError, UnknownNameError

# Whole numbers are at least 1 where their type is a plain int.
FromZero = Annotated[int, "at least 0"]
Rate = Annotated[float, "at least 0 and below 1"]


def check_fields(config: Any) -> None:
    """Raises ConfigError unless every number is in the range of its type, and every choice among the listed values."""
    for name, kind in get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, name)
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise UnknownNameError(f"value of {name}", str(value), map(str, get_args(kind)))
        if kind is int and value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1.")
        if kind == FromZero and value < 0:
            raise ConfigError(f"{name} is {value}; it must not be negative.")
        if kind == Rate and not 0 <= value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 0 and below 1.")
