"""Names and shapes of a SparseFormer's tensors: the released layouts, and the configuration that shapes determine.

"v1" is the released ImageNet code's layout, "v2" the released library's (for the v1 models), and "bootstrapped" the
library's for the models that were grown out of ViTs. Every mapping is a renaming.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from sparsevision.models.layouts import Layout, ShapeReader, renamed_by

OWN_TENSORS = ("tokens.roi",)
LABEL_SETS: Mapping[int, str] = {1000: "imagenet-1k"}

# The tensors outside of the units. Keys ending in a dot rename a module, the others a single tensor.
_COMMON = {
    "feat_extractor.conv1.": "early_conv.", "layers.1.0.": "bridge.fc.", "layers.1.1.": "bridge.norm.",
    "head.norm.": "head.norm.", "head.classifier.": "head.fc.",
}  # fmt: skip
_V1 = {**_COMMON, "token_roi.weight": "tokens.roi", "token_embedding.weight": "tokens.embedding"}
# The head was renamed late in the library's history, so that files with either name may be about.
_V2 = {
    **_COMMON, "initial_roi.weight": "tokens.roi", "initial_embedding.weight": "tokens.embedding",
    "cls_embedding.weight": "tokens.cls", "norm.": "head.norm.", "proj.": "head.fc.",
}  # fmt: skip

_MIXING = "adaptive_mixing."
_UNIT_COMMON = {
    "roi_adjust_module.0.": "adjust.norm.",
    "roi_offset_module.0.": "offset.norm.", "roi_offset_module.1.": "offset.fc.", "roi_offset_bias": "offset.bias",
    f"{_MIXING}parameter_generator.0.": "mixing.norm.", f"{_MIXING}parameter_generator.1.": "mixing.reduce.",
    f"{_MIXING}parameter_generator.2.": "mixing.generate.",
    f"{_MIXING}m_beta": "mixing.channel_bias", f"{_MIXING}s_beta": "mixing.point_bias",
}  # fmt: skip
_UNIT_V1 = {
    **_UNIT_COMMON, "ln_attn.": "attn.norm.", "attn.in_proj_": "attn.qkv.", "attn.out_proj.": "attn.proj.",
    "ffn.0.": "ffn.norm.", "ffn.1.": "ffn.fc1.", "ffn.3.": "ffn.fc2.", f"{_MIXING}tuo_proj.": "mixing.out.",
}  # fmt: skip
_UNIT_V2 = {
    **_UNIT_COMMON, "norm1.": "attn.norm.", "attn.qkv.": "attn.qkv.", "attn.proj.": "attn.proj.",
    "norm2.": "ffn.norm.", "mlp.fc1.": "ffn.fc1.", "mlp.fc2.": "ffn.fc2.", f"{_MIXING}out_proj.": "mixing.out.",
    "pe_transition.0.": "pe.norm.", "pe_transition.1.": "pe.fc.", "stage_embedding.weight": "stage_embedding",
}  # fmt: skip
# The adjustment is one linear layer, or two with a GELU between them; only the presence of a layer 3 tells which.
_ADJUST_ONE_LAYER = {"roi_adjust_module.1.": "adjust.fc."}
_ADJUST_TWO_LAYERS = {"roi_adjust_module.1.": "adjust.hidden.", "roi_adjust_module.3.": "adjust.fc."}

_UNIT = re.compile(r"layers\.(\d{1,4})\.(.+)", flags=re.DOTALL)
_CORTEX = re.compile(r"cortex\.(\d{1,4})\.")


def _renaming(
    whole_model: Mapping[str, str], unit_table: Mapping[str, str], names: Collection[str]
) -> Callable[[str], str]:
    def our_name(name: str) -> str:
        unit = _UNIT.fullmatch(name)
        if unit is None or unit[1] == "1":
            return renamed_by(whole_model, name) or name
        two_layers = f"layers.{unit[1]}.roi_adjust_module.3.weight" in names
        adjustment = _ADJUST_TWO_LAYERS if two_layers else _ADJUST_ONE_LAYER
        found = renamed_by(adjustment, unit[2]) or renamed_by(unit_table, unit[2])
        part = "focusing" if unit[1] == "0" else f"cortex.{int(unit[1]) - 2}"
        return name if found is None else f"{part}.{found}"

    return our_name


def _layout(name: str, tables: tuple[Mapping[str, str], Mapping[str, str]], *marks: str) -> Layout:
    return Layout(
        name=name, matches=lambda names: all(mark in names for mark in marks), renaming=partial(_renaming, *tables),
        # AugReg's and CLIP's base models have the shapes of others; only the layout tells them apart.
        holds=lambda config: (config.numerics == "bootstrapped") == (name == "bootstrapped"),
        fields={"numerics": name}, zeros=(".stage_embedding",),
    )  # fmt: skip


LAYOUTS = (
    _layout("v1", (_V1, _UNIT_V1), "token_roi.weight"),
    _layout("bootstrapped", (_V2, _UNIT_V2), "initial_roi.weight", "cls_embedding.weight"),
    _layout("v2", (_V2, _UNIT_V2), "initial_roi.weight"),
)


def infer_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns the configuration's fields that names and shapes determine.

    How often the focusing unit is repeated, the number of heads and the order of operations leave no trace in the
    shapes of a v1 model, so they are not among them.
    """
    read = ShapeReader(state)
    regions = state.get("tokens.roi")
    axes = regions.shape[1] // 2 if regions is not None and regions.ndim == 2 else 2
    read.fields["axes"] = axes
    if axes == 2:  # the tokens of a clip are copies, and only their product is known
        read.note("num_tokens", "tokens.roi", 0)
    if any(name.startswith("focusing.") for name in state):
        read.note("focusing_width", "tokens.embedding", 1)
        read.note("num_points", "focusing.offset.bias", 0, divisor=axes)
        read.note("focusing_repeats", "focusing.stage_embedding", 0)
    read.note("cortex_width", "head.norm.weight", 0)
    read.note("num_points", "cortex.0.offset.bias", 0, divisor=axes)
    read.note("feature_channels", "early_conv.weight", 0)
    read.note("in_chans", "early_conv.weight", 1)
    read.note("num_classes", "head.fc.weight", 0)
    units = [int(match[1]) for match in map(_CORTEX.match, state) if match]
    return {**read.fields, "cortex_depth": 1 + max(units)} if units else read.fields
