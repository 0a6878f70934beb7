"""Checks that configurations of all families share."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

from sparsevision.errors import ConfigError, UnknownNameError


def check_at_least(config: Any, least: int, *names: str) -> None:
    """Raises ConfigError unless the fields are at least 1, or not negative."""
    for name in names:
        if getattr(config, name) < least:
            bound = f"must be at least {least}" if least else "must not be negative"
            raise ConfigError(f"{name} is {getattr(config, name)}; it {bound}.")


def check_rates(config: Any, *names: str) -> None:
    """Raises ConfigError unless the fields are at least 0 and below 1."""
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise ConfigError(f"{name} is {getattr(config, name)}; it must be at least 0 and below 1.")


def check_choices(config: Any) -> None:
    """Raises UnknownNameError unless every field whose type lists its values has one of them."""
    for name, kind in get_type_hints(type(config)).items():
        allowed = [value for value in get_args(kind) if isinstance(value, str | int)]
        if allowed and getattr(config, name) not in allowed:
            raise UnknownNameError(f"value of {name}", str(getattr(config, name)), map(str, allowed))
