"""How tensors are named in the files that exist, and what each name is called here.

Three layouts carry SparseFormer's tensors. "v1" is the released ImageNet code's, "v2" the released library's (for the
v1 models), and "bootstrapped" the library's for the models that were grown out of ViTs. "sparse_detr" is that of the
detectors, and "transformers" that of Hugging Face's Deformable DETR; see `detr_layout` and `transformers_layout`. Every
mapping is a renaming; only transformers' files hold in three tensors what is one here, which `joined` mends before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Literal, TypeVar

from sparsevision.checkpoints.detr_layout import DetrNames, is_released_detr, without_duplicates
from sparsevision.checkpoints.renaming import renamed_by
from sparsevision.checkpoints.transformers_layout import TransformersNames, is_transformers_detr
from sparsevision.errors import CheckpointError

Layout = Literal["sparsevision", "v1", "v2", "bootstrapped", "sparse_detr", "transformers", "other"]
T = TypeVar("T")

# A tensor that only our own layout has, of each family.
OUR_MARKS = ("tokens.roi", "neck.level_embed", "vt.0.transformer.ff1.weight", "vt.0.transformer.linear.weight")

# The tensors outside of the units. Keys ending in a dot rename a module, the others a single tensor.
_COMMON = {
    "feat_extractor.conv1.": "early_conv.",
    "layers.1.0.": "bridge.fc.",
    "layers.1.1.": "bridge.norm.",
    "head.norm.": "head.norm.",
    "head.classifier.": "head.fc.",
}
_V1 = {**_COMMON, "token_roi.weight": "tokens.roi", "token_embedding.weight": "tokens.embedding"}
_V2 = {
    **_COMMON,
    "initial_roi.weight": "tokens.roi",
    "initial_embedding.weight": "tokens.embedding",
    "cls_embedding.weight": "tokens.cls",
    # The head was renamed late in the library's history, so that files with either name may be about.
    "norm.": "head.norm.",
    "proj.": "head.fc.",
}

_UNIT_COMMON = {
    "roi_adjust_module.0.": "adjust.norm.",
    "roi_offset_module.0.": "offset.norm.",
    "roi_offset_module.1.": "offset.fc.",
    "roi_offset_bias": "offset.bias",
    "adaptive_mixing.parameter_generator.0.": "mixing.norm.",
    "adaptive_mixing.parameter_generator.1.": "mixing.reduce.",
    "adaptive_mixing.parameter_generator.2.": "mixing.generate.",
    "adaptive_mixing.m_beta": "mixing.channel_bias",
    "adaptive_mixing.s_beta": "mixing.point_bias",
}
_UNIT_V1 = {
    **_UNIT_COMMON,
    "ln_attn.": "attn.norm.",
    "attn.in_proj_": "attn.qkv.",
    "attn.out_proj.": "attn.proj.",
    "ffn.0.": "ffn.norm.",
    "ffn.1.": "ffn.fc1.",
    "ffn.3.": "ffn.fc2.",
    "adaptive_mixing.tuo_proj.": "mixing.out.",
}
_UNIT_V2 = {
    **_UNIT_COMMON,
    "norm1.": "attn.norm.",
    "attn.qkv.": "attn.qkv.",
    "attn.proj.": "attn.proj.",
    "norm2.": "ffn.norm.",
    "mlp.fc1.": "ffn.fc1.",
    "mlp.fc2.": "ffn.fc2.",
    "adaptive_mixing.out_proj.": "mixing.out.",
    "pe_transition.0.": "pe.norm.",
    "pe_transition.1.": "pe.fc.",
    "stage_embedding.weight": "stage_embedding",
}
# The adjustment is one linear layer, or two with a GELU between them; only the presence of a layer 3 tells which.
_ADJUST_ONE_LAYER = {"roi_adjust_module.1.": "adjust.fc."}
_ADJUST_TWO_LAYERS = {"roi_adjust_module.1.": "adjust.hidden.", "roi_adjust_module.3.": "adjust.fc."}

_TABLES: Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "v1": (_V1, _UNIT_V1),
    "v2": (_V2, _UNIT_V2),
    "bootstrapped": (_V2, _UNIT_V2),
}
_UNIT = re.compile(r"layers\.(\d{1,4})\.(.+)", flags=re.DOTALL)


def detect_layout(names: Collection[str]) -> Layout:
    """Says which layout a state dict's names belong to; "other" where it is none that is known."""
    if any(name in names for name in OUR_MARKS):
        return "sparsevision"
    if "token_roi.weight" in names:
        return "v1"
    if "initial_roi.weight" in names:
        return "bootstrapped" if "cls_embedding.weight" in names else "v2"
    if is_transformers_detr(names):
        return "transformers"
    return "sparse_detr" if is_released_detr(names) else "other"


def renamed_to_ours(state: Mapping[str, T], layout: Layout) -> dict[str, tuple[str, T]]:
    """Gives every tensor our name: {our name: (its name in the file, tensor)}, in the file's order.

    A name that the layout does not know is kept as it is, so that strict loading lists it as unexpected.

    Raises:
        CheckpointError: two tensors of the file would get the same name.
    """
    our_name: Callable[[str], str] = str
    if layout == "sparse_detr":
        state = without_duplicates(state)
        our_name = DetrNames(state)
    elif layout == "transformers":
        our_name = TransformersNames(state)
    elif layout in _TABLES:
        our_name = partial(_our_name, layout=layout, names=state)
    result: dict[str, tuple[str, T]] = {}
    for name, tensor in state.items():
        ours = our_name(name)
        if ours in result:
            raise CheckpointError(
                f"The checkpoint holds the tensor {ours!r} twice, as {result[ours][0]!r} and {name!r}: remove one."
            )
        result[ours] = (name, tensor)
    return result


def _our_name(name: str, layout: str, names: Collection[str]) -> str:
    whole_model, unit_table = _TABLES[layout]
    unit = _UNIT.fullmatch(name)
    if unit is None or unit[1] == "1":
        return renamed_by(whole_model, name) or name
    index = int(unit[1])
    two_layers = f"layers.{unit[1]}.roi_adjust_module.3.weight" in names
    found = renamed_by(_ADJUST_TWO_LAYERS if two_layers else _ADJUST_ONE_LAYER, unit[2]) or renamed_by(
        unit_table, unit[2]
    )
    if found is None:
        return name
    return f"focusing.{found}" if index == 0 else f"cortex.{index - 2}.{found}"
