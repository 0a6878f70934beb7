"""Names and shapes of a detector's tensors: layouts of released files, and the configuration that shapes determine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sparsevision.models.layouts import Layout, ShapeReader
from sparsevision.models.sparse_detr.released_layout import DetrNames, is_released_detr, without_duplicates
from sparsevision.models.sparse_detr.transformers_config import describe, is_transformers_config
from sparsevision.models.sparse_detr.transformers_layout import TransformersNames, is_transformers_detr, joined

OWN_TENSORS = ("neck.level_embed",)
LABEL_SETS: Mapping[int, str] = {91: "coco"}
_NUMERICS = {"numerics": "released"}

LAYOUTS = (
    Layout(
        name="transformers", matches=is_transformers_detr, renaming=TransformersNames, prepared=joined,
        fields=_NUMERICS, has_settings=is_transformers_config,
        describe=lambda state, settings, origin: describe(infer_config(state), state, settings, origin),
    ),
    Layout(
        name="sparse_detr", matches=is_released_detr, renaming=DetrNames, prepared=without_duplicates, fields=_NUMERICS
    ),
)  # fmt: skip


def infer_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns a detector's fields; how many tokens it keeps leaves no trace, nor does how attention is divided."""
    read = ShapeReader(state)
    read.note("num_levels", "neck.level_embed", 0)
    read.note("width", "neck.level_embed", 1)
    read.note("num_classes", "decoder_heads.0.classes.weight", 0)
    read.note("ffn_width", "encoder.layers.0.ffn.fc1.weight", 0)
    read.note("num_queries", "query.embedding", 0)
    found, count = read.fields, read.count
    depths = {"encoder_depth": count("encoder.layers."), "decoder_depth": count("decoder.layers.")}
    found |= {name: depth for name, depth in depths.items() if depth}
    found["encoder_heads"] = "auxiliary" if count("encoder_heads.") else "none"
    if found.get("decoder_depth", 1) > 1:
        found["heads"] = "own" if count("decoder_heads.") > 1 else "shared"
    if "query.embedding" in state:
        found["queries"] = "learned"
    elif "query.norm.weight" in state:
        found["queries"] = "tokens" if state["query.norm.weight"].shape[0] == found.get("width") else "boxes"
    if "scorer.norm.weight" in state:
        found["selection"] = "dam"
    elif "salience.norm.weight" in state:
        found["selection"] = "salience"
    elif "objectness.classes.weight" in state:
        found["selection"] = "objectness"
    if "backbone.patch_embed.proj.weight" in state:
        found["backbone"] = "swin_tiny"
    elif "backbone.body.layer4.0.conv3.weight" in state and "backbone.body.layer3.6.conv3.weight" not in state:
        found["backbone"] = "resnet50"
    return found
