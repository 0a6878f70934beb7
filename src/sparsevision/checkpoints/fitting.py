"""What tensors alone say of the model that they belong to, read off their shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sparsevision.models.registry import VARIANTS
from sparsevision.models.visual_transformer.config import STAGES

# Fields that a user changes without it becoming another model.
_FREE_FIELDS = ("num_classes", "in_chans")
_CORTEX = re.compile(r"cortex\.(\d{1,4})\.")


def config_fields(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns the configuration's fields that the names and shapes of a model's tensors (our names) determine."""
    if "neck.level_embed" in state:
        return _detector_fields(state)
    return _sparseformer_fields(state) if "tokens.roi" in state else _visual_transformer_fields(state)


def _sparseformer_fields(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns a SparseFormer's fields.

    How often the focusing unit is repeated, the number of heads and the order of operations leave no trace in the
    shapes of a v1 model, so they are not among them.
    """
    found: dict[str, Any] = {}

    def note(field: str, name: str, axis: int, divisor: int = 1) -> None:
        tensor = state.get(name)
        if tensor is not None and tensor.ndim > axis:
            found.setdefault(field, tensor.shape[axis] // divisor)

    focusing = any(name.startswith("focusing.") for name in state)
    note("num_tokens", "tokens.roi", 0)
    if focusing:
        note("focusing_width", "tokens.embedding", 1)
        note("num_points", "focusing.offset.bias", 0, divisor=2)
        note("focusing_repeats", "focusing.stage_embedding", 0)
    note("cortex_width", "head.norm.weight", 0)
    note("num_points", "cortex.0.offset.bias", 0, divisor=2)
    note("feature_channels", "early_conv.weight", 0)
    note("in_chans", "early_conv.weight", 1)
    note("num_classes", "head.fc.weight", 0)
    units = [int(match[1]) for match in map(_CORTEX.match, state) if match]
    if units:
        found["cortex_depth"] = 1 + max(units)
    return found


def _detector_fields(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns a detector's fields; how many tokens it keeps leaves no trace, nor does how attention is divided."""
    found: dict[str, Any] = {}

    def note(field: str, name: str, axis: int) -> None:
        if name in state and state[name].ndim > axis:
            found[field] = state[name].shape[axis]

    def count(prefix: str) -> int:
        numbers = [name.removeprefix(prefix).split(".", 1)[0] for name in state if name.startswith(prefix)]
        return len(set(numbers))

    note("num_levels", "neck.level_embed", 0)
    note("width", "neck.level_embed", 1)
    note("num_classes", "decoder_heads.0.classes.weight", 0)
    note("ffn_width", "encoder.layers.0.ffn.fc1.weight", 0)
    note("num_queries", "query.embedding", 0)
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
    elif "objectness.classes.weight" in state:
        found["selection"] = "objectness"
    if "backbone.patch_embed.proj.weight" in state:
        found["backbone"] = "swin_tiny"
    elif "backbone.body.layer4.0.conv3.weight" in state and "backbone.body.layer3.6.conv3.weight" not in state:
        found["backbone"] = "resnet50"
    return found


def _visual_transformer_fields(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns a VT-ResNet's fields.

    Heads, the iterations of k-means, whether tokens are renewed wholly or by half, and how many tokens are pooled or
    clustered leave no trace.
    """
    found: dict[str, Any] = {}

    def note(field: str, name: str, axis: int) -> None:
        if name in state and state[name].ndim > axis:
            found.setdefault(field, state[name].shape[axis])

    def count(prefix: str) -> int:
        return len({name.removeprefix(prefix).split(".", 1)[0] for name in state if name.startswith(prefix)})

    note("width", "conv1.weight", 0)
    note("in_chans", "conv1.weight", 1)
    note("num_classes", "fc.weight", 0)
    note("token_width", "vt.0.transformer.ff1.weight", 0)
    note("token_width", "vt.0.transformer.linear.weight", 0)
    note("num_tokens", "vt.0.tokenizer.coef.weight", 0)
    note("num_tokens", "vt.0.transformer.adjacency", 0)
    note("feature_width", "vt.0.projector.query.weight", 0)
    if modules := count("vt."):
        found["num_modules"] = modules
    expansion = 4 if "layer3.0.conv3.weight" in state else 1
    for depth, (repeats, its_expansion) in STAGES.items():
        if (repeats[2], its_expansion) == (count("layer3."), expansion):
            found["depth"] = depth
    return found


def likely_variants(fields: Mapping[str, Any], layout: str = "sparsevision") -> list[str]:
    """Names the registered models whose configuration agrees with everything that the shapes determine."""
    wanted = {name: value for name, value in fields.items() if name not in _FREE_FIELDS}
    if len(wanted) < 4:
        return []
    fitting = [name for name, variant in VARIANTS.items() if _agrees(variant.config, wanted)]
    # AugReg's and CLIP's base models have the same shapes; only the head's bias and size tell them apart.
    exact = [
        name for name in fitting if getattr(VARIANTS[name].config, "num_classes", None) == fields.get("num_classes")
    ]
    bootstrapped = layout == "bootstrapped"
    if layout in ("v1", "v2", "bootstrapped"):
        exact = [n for n in exact if (VARIANTS[n].config.numerics == "bootstrapped") == bootstrapped]
    return exact or fitting


def disagreements(fields: Mapping[str, Any], config: Any) -> list[str]:
    """Says field by field where the shapes contradict a configuration: "cortex_width is 640, not 512"."""
    return [
        f"{name} is {value}, not {getattr(config, name)}"
        for name, value in fields.items()
        if hasattr(config, name) and getattr(config, name) != value
    ]


def _agrees(config: Any, wanted: Mapping[str, Any]) -> bool:
    return all(getattr(config, name, None) == value for name, value in wanted.items())
