"""Outputs and traces as flat lists of named tensors, which is all that an exported graph returns, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from sparsevision.errors import CheckpointError
from sparsevision.outputs import DetectionHead, DetectionOutput, SegmentationHead, SegmentationOutput
from sparsevision.types import Kept, LevelMaps, Points, Regions, Response, TokenMaps

KINDS: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        DetectionHead, DetectionOutput, SegmentationHead, SegmentationOutput,
        Points, Regions, TokenMaps, LevelMaps, Kept, Response,
    )
}  # fmt: skip
LENGTH = ".length"  # ends the names of tensors whose lengths are meant
_DEEPEST = 12


def flatten(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Puts the tensors of a value into `tensors`, each under a name of its own, and returns how to put them together.

    That is JSON. A size that the graph leaves open is kept as the length of a tensor, which a graph can return.
    """
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, torch.SymInt):
        tensors[name + LENGTH] = torch.zeros(value, dtype=torch.bool)
        return {"length": name + LENGTH}
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"kind": type(value).__name__, "fields": _flatten_named(parts, name, tensors)}
    if isinstance(value, Mapping):
        return {"mapping": _flatten_named(value, name, tensors)}
    if isinstance(value, tuple | list):
        return {"items": [flatten(item, f"{name}.{number}", tensors) for number, item in enumerate(value)]}
    return {"value": value}


def _flatten_named(parts: Mapping[str, Any], name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {key: flatten(part, f"{name}.{key}" if name else key, tensors) for key, part in parts.items()}


def renamed(structure: Any, names: Mapping[str, str]) -> Any:
    """Returns a structure in which tensors have other names."""
    if isinstance(structure, Mapping):
        return {
            key: names[part] if key in ("tensor", "length") and isinstance(part, str) else renamed(part, names)
            for key, part in structure.items()
        }
    return [renamed(item, names) for item in structure] if isinstance(structure, list) else structure


def unflatten(structure: Any, tensors: Mapping[str, Tensor], *, depth: int = 0) -> Any:
    """Puts tensors together as `flatten` described it; raises CheckpointError for anything else."""
    if isinstance(structure, Mapping) and depth < _DEEPEST:
        match dict(structure):
            case {"tensor": str(name)} if name in tensors:
                return tensors[name]
            case {"length": str(name)} if name in tensors:
                return tensors[name].shape[0]
            case {"kind": str(kind), "fields": dict(parts)} if kind in KINDS:
                values = {key: unflatten(part, tensors, depth=depth + 1) for key, part in parts.items()}
                if values.keys() == {field.name for field in fields(KINDS[kind])}:
                    return KINDS[kind](**values)
            case {"mapping": dict(parts)}:
                return {key: unflatten(part, tensors, depth=depth + 1) for key, part in parts.items()}
            case {"items": list(items)}:
                return tuple(unflatten(item, tensors, depth=depth + 1) for item in items)
            case {"value": None | str() | int() | float() | bool() as value}:
                return value
    raise CheckpointError("The description of the outputs in this exported file is damaged: export the model again.")
