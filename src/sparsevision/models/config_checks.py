"""Checks that configurations of all families share: what the fields' types tell, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from sparsevision.errors import ConfigError, UnknownNameError


@dataclass(frozen=True)
class Range:
    """The whole numbers that a field may have. The largest are beyond any model: files of strangers have such, too."""

    least: int
    most: int


# Whole numbers are from 1 to 65,536 where their type is a plain int.
_USUAL = Range(1, 1 << 16)
# What attention takes grows with the square of these.
MOST_COUNT = 4096
Count = Annotated[int, Range(1, MOST_COUNT)]
FromZero = Annotated[int, Range(0, 1 << 20)]
Repeats = Annotated[int, Range(1, 1000)]
RepeatsFromZero = Annotated[int, Range(0, 1000)]
Rate = Annotated[float, "at least 0 and below 1"]


def check_fields(config: Any) -> None:
    """Raises ConfigError unless every number is in the range of its type, and every choice among the listed values."""
    for name, kind in get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, name)
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise UnknownNameError(f"value of {name}", str(value), map(str, get_args(kind)))
        if kind == Rate and not 0 <= value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 0 and below 1.")
        if (allowed := _range_of(kind)) and value is not None and not allowed.least <= value <= allowed.most:
            beyond = f"at least {allowed.least}" if value < allowed.least else f"at most {allowed.most:,}"
            raise ConfigError(f"{name} is {value}; it must be {beyond}.")


def _range_of(kind: Any) -> Range | None:
    """Returns the range of a type of whole numbers, None for other types."""
    if kind is int or kind == int | None:
        return _USUAL
    return next((each for each in getattr(kind, "__metadata__", ()) if isinstance(each, Range)), None)
