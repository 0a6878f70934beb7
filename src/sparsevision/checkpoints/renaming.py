"""Renaming by a table whose entries are whole names, or beginnings of names."""

from __future__ import annotations

from collections.abc import Mapping


def renamed_by(table: Mapping[str, str], name: str) -> str | None:
    """Renames by the only entry that fits: a whole name, or a prefix where the entry ends in a dot or underscore."""
    if name in table:
        return table[name]
    for theirs, ours in table.items():
        if theirs[-1] in "._" and name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return None
