"""Names of the tensors in the released Sparse DETR and Deformable DETR files.

The mapping is a renaming: no tensor is transposed, split or joined. Heads stand in these files up to three times, under
the transformer's encoder and decoder as well; only the outermost names are read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from sparsevision.models.layouts import renamed_by

# The parts of deformable attention, which transformers calls the same.
ATTENTION = {
    "sampling_offsets": "offsets", "attention_weights": "weights", "value_proj": "value", "output_proj": "output",
}  # fmt: skip
_ENCODER = {"norm1": "norm", "linear1": "ffn.fc1", "linear2": "ffn.fc2", "norm2": "ffn.norm"}
# In the decoder norm1 belongs to the cross-attention and norm2 to the self-attention, whatever their numbers say.
_DECODER = {
    "norm1": "norm_cross", "norm2": "norm_self", "norm3": "ffn.norm", "linear1": "ffn.fc1", "linear2": "ffn.fc2",
}  # fmt: skip
_SCORER = {"layer1.0": "norm", "layer1.1": "project", "layer2.0": "mlp.0", "layer2.2": "mlp.1", "layer2.4": "mlp.2"}
# Behind "transformer.", or behind "model." in files of transformers.
WHOLE = {
    "level_embed": "neck.level_embed", "enc_output.": "proposal.project.", "enc_output_norm.": "proposal.norm.",
    "pos_trans.": "query.project.", "pos_trans_norm.": "query.norm.", "reference_points.": "query.reference.",
}  # fmt: skip
_DUPLICATE = re.compile(r"transformer\.(encoder|decoder)\.(class_embed|bbox_embed)\.")
_LAYER = re.compile(r"transformer\.(encoder|decoder)\.layers\.(\d{1,4})\.(self_attn|cross_attn|norm\d|linear\d)\.(.+)")
HEAD = re.compile(r"(?:model\.decoder\.)?(class_embed|bbox_embed)\.(\d{1,4})\.(?:layers\.(\d)\.)?(weight|bias)")
_LEVEL = re.compile(r"(?:model\.)?input_proj\.(\d{1,4})\.([01])\.(weight|bias)")
_SCORER_LAYER = re.compile(r"transformer\.enc_mask_predictor\.(layer\d\.\d)\.(weight|bias)")
_MERGING = re.compile(r"layers\.(\d)\.downsample\.(.+)")
_SWIN_NORM = re.compile(r"norm(\d)\.(weight|bias)")


def is_released_detr(names: Collection[str]) -> bool:
    """Returns whether a state dict's names are those of the released Sparse DETR code."""
    return "transformer.level_embed" in names and "input_proj.0.0.weight" in names


def without_duplicates(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leaves out the second and third names of heads, and Swin's index tables, which are computed."""
    shared = not any(map(_DUPLICATE.match, state)) and shares_heads(state)
    repeated = {name for name in state if shared and (found := HEAD.fullmatch(name)) and found[2] != "0"}
    return {
        name: tensor
        for name, tensor in state.items()
        if not _DUPLICATE.match(name) and not name.endswith("relative_position_index") and name not in repeated
    }


def shares_heads(state: Mapping[str, Tensor]) -> bool:
    """Returns whether all layers have one head, which pickled files repeat; refining models have one for each layer."""
    first, second = (state.get(f"bbox_embed.{index}.layers.0.weight") for index in (0, 1))
    return first is not None and second is not None and torch.equal(first, second)


class DetectorNames:
    """Our name of a tensor that the released files and those of transformers call alike, but for a prefix.

    A name that is not known stays as it is, so that strict loading lists it as unexpected.
    """

    whole: Mapping[str, str] = {}

    def __call__(self, name: str) -> str:
        """Returns our name."""
        if found := HEAD.fullmatch(name):
            kind, index, layer, leaf = found.groups()
            return f"{self.head(int(index))}.{'classes' if kind == 'class_embed' else f'box.{layer}'}.{leaf}"
        if found := _LEVEL.fullmatch(name):
            return f"neck.levels.{found[1]}.{'norm' if found[2] == '1' else 'conv'}.{found[3]}"
        return renamed_by(self.whole, name) or name

    def head(self, index: int) -> str:
        """Names a head by its place in the file's list."""
        raise NotImplementedError


class DetrNames(DetectorNames):
    """Names whose meaning follows from all of a file's names: the owners of heads, and the backbone."""

    whole = {f"transformer.{theirs}": ours for theirs, ours in WHOLE.items()} | {
        "query_embed.weight": "query.embedding"
    }

    def __init__(self, names: Collection[str]) -> None:
        heads = [int(found[2]) for found in map(HEAD.fullmatch, names) if found]
        layers = [int(found[2]) for found in map(_LAYER.fullmatch, names) if found and found[1] == "decoder"]
        self.decoder_heads = 1 + max(layers, default=0) if max(heads, default=0) else 1
        self.two_stage = any(name.startswith("transformer.enc_output.") for name in names)
        self.swin = any(name.startswith("backbone.0.body.layers.") for name in names)

    def __call__(self, name: str) -> str:
        """Returns our name."""
        if found := _LAYER.fullmatch(name):
            stack, index, part, rest = found.groups()
            if part.endswith("attn"):
                inner, _, leaf = rest.partition(".")
                attention = "attn" if stack == "encoder" else part
                return f"{stack}.layers.{index}.{attention}.{ATTENTION.get(inner, inner)}{'.' * bool(leaf)}{leaf}"
            parts = _ENCODER if stack == "encoder" else _DECODER
            return f"{stack}.layers.{index}.{parts.get(part, part)}.{rest}"
        if (found := _SCORER_LAYER.fullmatch(name)) and found[1] in _SCORER:
            return f"scorer.{_SCORER[found[1]]}.{found[2]}"
        if name.startswith("backbone.0.body."):
            return self._backbone(name.removeprefix("backbone.0.body."))
        return super().__call__(name)

    def head(self, index: int) -> str:
        """Names a head by its place in the file's list: decoder layers, first stage, encoder layers."""
        if index < self.decoder_heads:
            return f"decoder_heads.{index}"
        if self.two_stage and index == self.decoder_heads:
            return "proposal_head"
        return f"encoder_heads.{index - self.decoder_heads - self.two_stage}"

    def _backbone(self, name: str) -> str:
        if not self.swin:
            return f"backbone.body.{name}"
        if found := _MERGING.fullmatch(name):  # here, merging opens the next stage
            return f"backbone.layers.{int(found[1]) + 1}.downsample.{found[2]}"
        if found := _SWIN_NORM.fullmatch(name):  # maps start at the second stage
            return f"backbone.norms.{int(found[1]) - 1}.{found[2]}"
        return f"backbone.{name}"
