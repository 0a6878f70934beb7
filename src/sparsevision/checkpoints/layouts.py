"""Layouts of files, configurations and likely models, found by names and shapes of tensors."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from typing import Any, TypeVar

from torch import Tensor

from sparsevision.errors import CheckpointError
from sparsevision.models.layouts import Layout
from sparsevision.models.registry import FAMILIES, Family, variants

OURS, OTHER = "sparsevision", "other"
T = TypeVar("T")
# Fields that a user changes without it becoming another model.
FREE_FIELDS = ("num_classes", "in_chans")


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

    A name that the layout does not know is kept as it is, so that strict loading lists it as unexpected. Raises
    CheckpointError where two tensors of the file would get the same name.
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


def infer_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns the configuration's fields that the names and shapes of a model's tensors (our names) determine."""
    family = family_of_tensors(state)
    found: dict[str, Any] = {} if family is None else naming_of(family).infer_config(state)
    return found


def likely_variants(state: Mapping[str, Tensor], layout: str) -> list[str]:
    """Names the registered models whose configuration agrees with everything that the shapes determine."""
    fields = infer_config(state)
    wanted = {name: value for name, value in fields.items() if name not in FREE_FIELDS}
    if len(wanted) < 4:
        return []
    configs = {
        name: variant.config
        for name, variant in variants().items()
        if all(getattr(variant.config, field, None) == value for field, value in wanted.items())
    }
    # Models of the same shapes may differ in the head's size, and in the layout that their weights come in.
    outputs = fields.get("num_classes")
    exact = [name for name, config in configs.items() if getattr(config, "num_classes", None) == outputs]
    if (known := layout_named(layout)) is not None:
        exact = [name for name in exact if known.holds(configs[name])]
    return exact or list(configs)


def disagreements(state: Mapping[str, Tensor], config: Any) -> list[str]:
    """Lists field by field where the shapes contradict a configuration: "cortex_width is 640, not 512"."""
    return [
        f"{name} is {value}, not {getattr(config, name)}"
        for name, value in infer_config(state).items()
        if hasattr(config, name) and getattr(config, name) != value
    ]
