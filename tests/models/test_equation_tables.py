"""The documents' tables from equations to functions name what there is."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from sparsevision.models.registry import FAMILIES

_TABLE = re.compile(r"## Equations and functions\n(.*?)\n\n(?:##|Each)", flags=re.DOTALL)


def _page(repository: Path, folder: str) -> str:
    """The page that names a family's folder."""
    pages = [path.read_text() for path in (repository / "docs").glob("*.md")]
    return next(text for text in pages if f"in `{folder}` |" in text)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_every_function_of_the_table_exists(repository: Path, family) -> None:
    folder = family.module.rpartition(".")[0]
    (table,) = _TABLE.findall(_page(repository, folder))
    named = re.findall(r"`(\w+)\.(\w+)`", table)
    assert len(named) >= 7
    for module, name in named:
        assert hasattr(import_module(f"{folder}.{module}"), name), f"{module}.{name}"
