"""The configuration of a Deformable DETR of transformers, from its tensors and from the config.json beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sparsevision.errors import CheckpointError
from sparsevision.models.layouts import StoredModel

Settings = Mapping[str, Any]

# Defaults of transformers for values that leave no trace in the tensors and are not in a config.json.
_HEADS = 8
_ONLY: Settings = {"activation_function": "relu", "position_embedding_type": "sine", "dilation": False}
_RESNETS = {("bottleneck", (3, 4, 6, 3)): "resnet50", ("bottleneck", (3, 4, 23, 3)): "resnet101"}


def is_transformers_config(settings: Settings) -> bool:
    """Returns whether the content of a config.json is that of a Deformable DETR of transformers."""
    return settings.get("model_type") == "deformable_detr"


def describe(fields: Settings, state: Mapping[str, Tensor], settings: Settings, origin: str) -> StoredModel:
    """Describes the model that tensors (our names) belong to, `fields` being those that their shapes determine.

    Raises CheckpointError where the settings ask for a part that our model does not have.
    """
    for name, only in _ONLY.items():
        if settings.get(name, only) != only:
            raise CheckpointError(f"{name} is {settings[name]!r} in {origin}, and only {only!r} is read.")
    two_stage = fields.get("queries") == "boxes"
    refined = two_stage or fields.get("heads") == "own"
    model = f"deformable_detr_{'two_stage_' if two_stage else 'refined_' if refined else ''}r50"
    heads = _both(settings, "attention_heads", origin) or _HEADS
    told: dict[str, Any] = {"num_heads": heads}
    parts = {"num_points": "decoder.layers.0.cross_attn", "encoder_points": "encoder.layers.0.attn"}
    for field, part in parts.items():
        if (weights := state.get(f"{part}.weights.bias")) is not None:
            told[field] = weights.numel() // (heads * fields.get("num_levels", 1))
    if told.get("encoder_points") == told.get("num_points"):
        told.pop("encoder_points", None)
    told |= {ours: settings[theirs] for theirs, ours in _taken(two_stage).items() if theirs in settings}
    if backbone := _backbone(settings, origin):
        told["backbone"] = backbone
    labels = None if fields.get("num_classes") == 91 else _labels(settings, fields.get("num_classes"))
    return StoredModel(name=model, config={**fields, **told, "numerics": "released"}, labels=labels)


def _taken(two_stage: bool) -> Mapping[str, str]:
    queries = {"two_stage_num_proposals": "num_queries"} if two_stage else {}
    return {"dropout": "dropout", **queries}


def _both(settings: Settings, name: str, origin: str) -> int | None:
    """Returns a number that encoder and decoder share."""
    first, second = (settings.get(f"{stack}_{name}") for stack in ("encoder", "decoder"))
    if first != second:
        raise CheckpointError(
            f"encoder_{name} is {first!r} and decoder_{name} {second!r} in {origin}: they must be equal."
        )
    if first is not None and (not isinstance(first, int) or first < 1):
        raise CheckpointError(f"encoder_{name} is {str(first)[:40]!r} in {origin}; it must be a positive whole number.")
    return first


def _backbone(settings: Settings, origin: str) -> str | None:
    """Returns timm's name of the backbone; older files name it beside the rest, newer ones in a table of its own."""
    inner = settings.get("backbone_config")
    if not isinstance(inner, dict):
        name = settings.get("backbone")
        return name if isinstance(name, str) else None
    kind = inner.get("model_type")
    name = inner.get("backbone")
    if kind == "resnet":
        depths = inner.get("depths", (3, 4, 6, 3))
        shape = (inner.get("layer_type", "bottleneck"), tuple(depths) if isinstance(depths, list | tuple) else ())
        name = _RESNETS.get(shape)
    if kind not in ("timm_backbone", "resnet") or not isinstance(name, str):
        raise CheckpointError(
            f"The backbone in {origin} is of type {str(kind)[:40]!r}; ResNet-50 and -101 of transformers and "
            "timm's models are read."
        )
    return name


def _labels(settings: Settings, outputs: int | None) -> tuple[str, ...] | None:
    """Returns the names of the outputs, where every output has one of its own."""
    table = settings.get("id2label")
    if not isinstance(table, dict):
        return None
    names = tuple(str(table[str(index)]) for index in range(outputs or 0) if str(index) in table)
    return names if len(set(names)) == outputs else None
