"""Names of the tensors of Hugging Face's `DeformableDetrForObjectDetection`.

Self-attention has three projections there and one here, so their rows are joined: queries, keys, values. The rest is a
renaming. Files of older versions name a few parts otherwise; both names are read. Heads stand under the decoder as
well where boxes are refined; a file may hold either name, or both. In the refined single-stage form newer versions have
one class head for all layers, and write it once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from itertools import product

import torch
from torch import Tensor

from sparsevision.models.layouts import renamed_by
from sparsevision.models.sparse_detr.released_layout import ATTENTION, HEAD, WHOLE, DetectorNames, shares_heads

_FEED_FORWARD = {
    "mlp.fc1.": "ffn.fc1.", "mlp.fc2.": "ffn.fc2.", "fc1.": "ffn.fc1.", "fc2.": "ffn.fc2.",
    "final_layer_norm.": "ffn.norm.",
}  # fmt: skip
_LAYERS = {
    "encoder": {
        **{f"self_attn.{theirs}.": f"attn.{ours}." for theirs, ours in ATTENTION.items()},
        "self_attn_layer_norm.": "norm.", **_FEED_FORWARD,
    },
    "decoder": {
        "self_attn.{q,k,v}_proj.": "self_attn.in_proj_",
        "self_attn.o_proj.": "self_attn.out_proj.", "self_attn.out_proj.": "self_attn.out_proj.",
        **{f"encoder_attn.{theirs}.": f"cross_attn.{ours}." for theirs, ours in ATTENTION.items()},
        "self_attn_layer_norm.": "norm_self.", "encoder_attn_layer_norm.": "norm_cross.", **_FEED_FORWARD,
    },
}  # fmt: skip
_RESNET_STEM = {"embedder.embedder.convolution.": "conv1.", "embedder.embedder.normalization.": "bn1."}
_RESNET_SHORTCUT = {"shortcut.convolution.": "downsample.0.", "shortcut.normalization.": "downsample.1."}

_INNER = "model.decoder."
_QUERY = re.compile(r"(model\.decoder\.layers\.\d{1,4}\.self_attn\.)q_proj\.(weight|bias)")
_LAYER = re.compile(r"model\.(encoder|decoder)\.layers\.(\d{1,4})\.(.+)", flags=re.DOTALL)
_BACKBONE = re.compile(r"model\.backbone\.(?:conv_encoder\.)?model\.(.+)", flags=re.DOTALL)
_RESNET_BLOCK = re.compile(r"encoder\.stages\.(\d)\.layers\.(\d{1,4})\.(.+)", flags=re.DOTALL)
_RESNET_LAYER = re.compile(r"layer\.(\d)\.(convolution|normalization)\.(.+)", flags=re.DOTALL)


def is_transformers_detr(names: Collection[str]) -> bool:
    """Returns whether a state dict's names are those of transformers' Deformable DETR."""
    return "model.level_embed" in names and "model.input_proj.0.0.weight" in names


def joined(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Joins the three projections of every self-attention, and gives every head one name.

    A projection whose two others are missing, or do not fit it, stays as it is, so that strict loading lists it.
    """
    result = _heads_once(state)
    for name in state:
        if (found := _QUERY.fullmatch(name)) is None:
            continue
        parts = [f"{found[1]}{letter}_proj.{found[2]}" for letter in "qkv"]
        tensors = [state[part] for part in parts if part in state]
        if len(tensors) == 3 and len({(tensor.shape, tensor.dtype) for tensor in tensors}) == 1 and tensors[0].ndim:
            result[f"{found[1]}{{q,k,v}}_proj.{found[2]}"] = torch.cat(tensors)
            for part in parts:
                del result[part]
    return result


def _heads_once(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leaves out second names of heads; adds class heads that a file leaves out because all layers share one."""
    heads = {name: found for name in state if (found := HEAD.fullmatch(name))}
    shared = _shares_heads(state)
    result = {}
    for name, tensor in state.items():
        outer = name.removeprefix(_INNER)
        repeated = name in heads and ((outer != name and outer in state) or (shared and heads[name][2] != "0"))
        if not repeated:
            result[name] = tensor
    indices = {
        kind: {found[2] for found in heads.values() if found[1] == kind} for kind in ("class_embed", "bbox_embed")
    }
    if indices["class_embed"] == {"0"} and not shared:
        for index, leaf in product(sorted(indices["bbox_embed"]), ("weight", "bias")):
            if f"class_embed.0.{leaf}" in state:
                result[f"class_embed.{index}.{leaf}"] = state[f"class_embed.0.{leaf}"]
    return result


def _shares_heads(state: Mapping[str, Tensor]) -> bool:
    """Returns whether all layers have one head, which pickled files repeat; refining models have one for each layer."""
    if any(name.startswith(f"{_INNER}bbox_embed.") for name in state):
        return False
    return shares_heads(state)


class TransformersNames(DetectorNames):
    """Names whose meaning follows from all of a file's names: the owners of heads."""

    whole = {f"model.{theirs}": ours for theirs, ours in WHOLE.items()} | {
        "model.query_position_embeddings.weight": "query.embedding"
    }

    def __init__(self, names: Collection[str]) -> None:
        heads = [int(found[2]) for found in map(HEAD.fullmatch, names) if found]
        two_stage = any(name.startswith("model.enc_output.") for name in names)
        self.proposal_head = max(heads, default=0) if two_stage else None

    def __call__(self, name: str) -> str:
        """Returns our name."""
        if found := _LAYER.fullmatch(name):
            part = renamed_by(_LAYERS[found[1]], found[3])
            return name if part is None else f"{found[1]}.layers.{found[2]}.{part}"
        if found := _BACKBONE.fullmatch(name):
            return f"backbone.body.{_backbone(found[1])}"
        return super().__call__(name)

    def head(self, index: int) -> str:
        """Names a head by its place in the file's list: decoder layers, first stage."""
        return "proposal_head" if index == self.proposal_head else f"decoder_heads.{index}"


def _backbone(name: str) -> str:
    """Turns the names of transformers' own ResNet into timm's, which a backbone of timm's has already."""
    block = _RESNET_BLOCK.fullmatch(name)
    if block is None:
        return renamed_by(_RESNET_STEM, name) or name
    inner = renamed_by(_RESNET_SHORTCUT, block[3])
    if layer := _RESNET_LAYER.fullmatch(block[3]):
        inner = f"{'conv' if layer[2] == 'convolution' else 'bn'}{int(layer[1]) + 1}.{layer[3]}"
    return name if inner is None else f"layer{int(block[1]) + 1}.{block[2]}.{inner}"
