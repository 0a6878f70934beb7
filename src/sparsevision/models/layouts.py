"""Layouts: the names that released files give to a family's tensors, and how each becomes one of ours."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class StoredModel:
    """The model that a file of another library describes."""

    name: str
    config: Mapping[str, Any]
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One way of naming a family's tensors.

    Attributes:
        name: for reports.
        matches: whether a file's names are of this layout.
        renaming: from all names of a file to the function that gives one of them our name. A name that it does not know
            stays as it is, so that strict loading lists it as unexpected.
        prepared: the file's tensors with duplicates left out and parts joined, before they are renamed.
        fields: the configuration's fields that follow from the layout.
        holds: whether weights of a configuration come in this layout.
        zeros: ends of names of tensors that early files lack, where zeros do.
        has_settings: whether the content of a config.json is of the library that writes this layout.
        describe: from tensors (our names), a config.json's content and the file's name to the model.
    """

    name: str
    matches: Callable[[Collection[str]], bool]
    renaming: Callable[[Collection[str]], Callable[[str], str]]
    prepared: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    fields: Mapping[str, Any] = field(default_factory=dict)
    holds: Callable[[Any], bool] = lambda config: True
    zeros: tuple[str, ...] = ()
    has_settings: Callable[[Mapping[str, Any]], bool] = lambda settings: False
    describe: Callable[[Mapping[str, Tensor], Mapping[str, Any], str], StoredModel] | None = None


def renamed_by(table: Mapping[str, str], name: str) -> str | None:
    """Renames by the only entry that fits: a whole name, or a prefix where the entry ends in a dot or underscore."""
    if name in table:
        return table[name]
    for theirs, ours in table.items():
        if theirs[-1] in "._" and name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return None


class ShapeReader:
    """Fields of a configuration, read off the shapes of tensors; a field that is found twice keeps its first value."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state = state
        self.fields: dict[str, Any] = {}

    def note(self, field: str, name: str, axis: int, divisor: int = 1) -> None:
        """Takes one side of the tensor `name` for a field, if there is such a tensor."""
        tensor = self.state.get(name)
        if tensor is not None and tensor.ndim > axis:
            self.fields.setdefault(field, tensor.shape[axis] // divisor)

    def count(self, prefix: str) -> int:
        """Returns the number of parts in the list of modules whose names begin with a prefix."""
        return len({name.removeprefix(prefix).split(".", 1)[0] for name in self.state if name.startswith(prefix)})
