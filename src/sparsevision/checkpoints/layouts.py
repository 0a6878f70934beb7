"""The layout of a file's names, found among those of all families, and the renaming to ours."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from typing import Any, TypeVar

from sparsevision.errors import CheckpointError
from sparsevision.models.layouts import Layout
from sparsevision.models.registry import FAMILIES, Family

OURS, OTHER = "sparsevision", "other"
T = TypeVar("T")


def naming_of(family: Family) -> Any:
    """Returns the module of a family that knows its tensors' names, None where there is none."""
    return None if family.state_dict is None else import_module(family.state_dict)


def layouts() -> Iterator[Layout]:
    """Yields every layout of released files."""
    for family in FAMILIES.values():
        yield from getattr(naming_of(family), "LAYOUTS", ())


def layout_named(name: str) -> Layout | None:
    """Returns a layout of released files by its name, None for our own and for unknown ones."""
    return next((layout for layout in layouts() if layout.name == name), None)


def family_of_tensors(names: Collection[str]) -> Family | None:
    """Returns the family that tensors of our names belong to."""
    for family in FAMILIES.values():
        if any(name in names for name in getattr(naming_of(family), "OWN_TENSORS", ())):
            return family
    return None


def detect_layout(names: Collection[str]) -> str:
    """Returns the name of the layout that a state dict's names belong to; "other" where it is none that is known."""
    if family_of_tensors(names) is not None:
        return OURS
    return next((layout.name for layout in layouts() if layout.matches(names)), OTHER)


def renamed_to_ours(state: Mapping[str, T], layout: str) -> dict[str, tuple[str, T]]:
    """Gives every tensor our name: {our name: (its name in the file, tensor)}, in the file's order.

    A name that the layout does not know is kept as it is, so that strict loading lists it as unexpected.

    Raises:
        CheckpointError: two tensors of the file would get the same name.
    """
    known = layout_named(layout)
    if known is not None:
        state = known.prepared(state)
    our_name = str if known is None else known.renaming(state)
    result: dict[str, tuple[str, T]] = {}
    for name, tensor in state.items():
        ours = our_name(name)
        if ours in result:
            raise CheckpointError(
                f"The checkpoint holds the tensor {ours!r} twice, as {result[ours][0]!r} and {name!r}: remove one."
            )
        result[ours] = (name, tensor)
    return result
