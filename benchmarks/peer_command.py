"""Peers of our networks as families that our commands train and evaluate."""

from __future__ import annotations

import sys
from typing import NoReturn

from sparsevision.models.registry import FAMILIES, Family


def register_peer(module: str, class_name: str, *, name: str, task: str) -> None:
    """Adds a family to the table, whose network and `VARIANTS` a module has."""
    FAMILIES[name] = Family(name=name, task=task, module=module, class_name=class_name, variants=module)


def run_command() -> NoReturn:
    """Runs the words behind the name of a script as a `sparsevision` command line."""
    from sparsevision.cli import main

    sys.exit(main())
