"""Bounds on memory that a user may set in the environment."""

from __future__ import annotations

import os

from sparsevision.errors import ConfigError


def mebibytes(variable: str, default: int) -> int:
    """Returns the whole number of MiB that an environment variable holds; raises ConfigError for anything else."""
    text = os.environ.get(variable, "")
    if text and not (text.isascii() and text.isdecimal()):
        raise ConfigError(f"The variable {variable} is {text!r}: give a whole number of MiB.")
    return int(text or default)
