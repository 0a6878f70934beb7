"""Identity of a model, carried with it: its name, its preprocessing, the names of its outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from typing import Any

import torch
from torch import nn

from sparsevision.checkpoints.checkpoint import LoadReport
from sparsevision.types import ClassMetadata, Preprocessing


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Facts about a model that `create_model` made, which are written beside its weights, as its `identity`.

    `report` is that of loading, if weights were loaded; `options` are the constructor's arguments of a model that
    has no configuration of its own (timm's); `class_metadata` are values of the labels besides their names.
    """

    name: str
    preprocessing: Preprocessing
    labels: tuple[str, ...] | None = None
    report: LoadReport | None = field(default=None, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    class_metadata: ClassMetadata = field(default_factory=ClassMetadata)


def identity_of(model: nn.Module) -> Identity | None:
    """Returns the identity of a model that `create_model` made; None for any other.

    Labels are left out where the model has been given another number of outputs since.
    """
    model = unwrapped(model)
    identity = getattr(model, "identity", None)
    if not isinstance(identity, Identity):
        return None
    if identity.labels is not None and len(identity.labels) != getattr(model, "num_classes", None):
        return replace(identity, labels=None, class_metadata=ClassMetadata())
    return identity


def config_of(model: nn.Module) -> dict[str, Any]:
    """Returns the constructor's values of a model, with the outputs that it has now."""
    config, identity = getattr(model, "config", None), identity_of(model)
    values: dict[str, Any] = dict(identity.options) if identity else {}
    if is_dataclass(config) and not isinstance(config, type):
        values = asdict(config)
    return {**values, "num_classes": model.num_classes} if hasattr(model, "num_classes") else values


def fingerprint(model: nn.Module, *further: object) -> str:
    """Returns a digest of a model's weights and identity, and of whatever else is given, as hexadecimal digits."""
    digest = hashlib.sha256(repr((identity_of(model), further)).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    for path in getattr(model, "files", ()):  # an exported model has its weights there
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def unwrapped(model: nn.Module) -> nn.Module:
    """Unwraps a model from data parallelism and torch.compile."""
    for attribute in ("_orig_mod", "module") * 2:
        inner = getattr(model, attribute, None)
        if isinstance(inner, nn.Module) and len(list(model.children())) == 1:
            model = inner
    return model
