"""SparseFormer's golden cases in our words: their configurations and their names of weights."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sparsevision.checkpoints.layouts import detect_layout, renamed_to_ours
from sparsevision.models.registry import variants
from sparsevision.models.sparseformer.config import SparseFormerConfig

OPERATIONS = {"ATTN": "attention", "ROI_ADJ": "adjust", "SAMPLING_M": "sample", "PE_INJECT": "encode", "MLP": "ffn"}


def config_of(words: dict[str, Any], state: dict[str, Tensor]) -> SparseFormerConfig:
    """Says a case's configuration, given in the reference's words, in ours."""
    if "model" in words:
        name = words["model"].replace("btsp_openai_", "").replace("btsp_", "").replace("v1_", "")
        config = variants()[name].config
        return SparseFormerConfig(**vars(config) | {"numerics": "v2"}) if "v1" in words["model"] else config
    if words["layout"] == "v1":
        return SparseFormerConfig(
            num_tokens=words["num_latent_tokens"],
            num_points=words["token_sampling_points"],
            feature_channels=words["conv_dim"],
            focusing_width=words["width_configurations"][0],
            focusing_repeats=words["repeats"][0],
            cortex_width=words["width_configurations"][1],
            cortex_depth=words["block_sizes"][1],
        )
    orders = [tuple(OPERATIONS[op] for op in ops) for ops in words["ops_list"]]
    details = words["compatible_config"]
    bootstrapped = words["head_op"] == "cls"
    return SparseFormerConfig(
        num_tokens=words["num_latent_tokens"],
        num_points=words["num_sampling_points"],
        feature_channels=words["conv_dim"],
        focusing_width=words["width_configs"][0],
        focusing_repeats=words["repeats"][0],
        cortex_width=words["width_configs"][1],
        cortex_depth=len(orders) - 1,
        focusing_order=orders[0],
        cortex_orders=tuple(orders[1:]),
        numerics="bootstrapped" if bootstrapped else "v2",
        num_classes=words["proj_dim"],
        head_width=64 if details["type_num_attn_heads"] == 2 else None,
        generator_width=details["pg_inner_dim"] if details["pg_inner_dim"] > 1 else None,
        mixing="biased" if details["mixing_bias"] else "bare",
        adjustment="mlp" if details["type_op_adjust"] == 2 else "linear",
        embeddings="shared" if words["same_token_embedding"] else "individual",
        stage_embedding="learned" if details["use_stage_embedding"] else "none",
        bridge="norm" if details["transition_ln"] else "plain",
        readout="class_token" if bootstrapped else "mean",
        cortex_activation="quick_gelu" if details["clip_quick_gelu"] else "gelu",
        head_bias="learned" if words["proj_bias"] else "none",
    )


def load(module: nn.Module, state: dict[str, Tensor], prefix: str = "") -> dict[str, str]:
    """Loads a released layout strictly; returns {the reference's name: ours}."""
    layout = (
        detect_layout(state)
        if not prefix
        else ("v1" if any("in_proj" in name or "ffn" in name for name in state) else "v2")
    )
    named = {prefix + name: tensor for name, tensor in state.items()}
    renamed = renamed_to_ours(named, layout)
    unit = "focusing." if prefix else ""
    module.load_state_dict({ours.removeprefix(unit): tensor for ours, (_, tensor) in renamed.items()}, strict=True)
    return {theirs.removeprefix(prefix): ours.removeprefix(unit) for ours, (theirs, _) in renamed.items()}


def gradients_of(module: nn.Module, names: dict[str, str], inputs: dict[str, Tensor]) -> dict[str, Tensor | None]:
    """Collects gradients under the reference's names, those of inputs too."""
    parameters = dict(module.named_parameters())
    found = {theirs: parameters[ours].grad for theirs, ours in names.items()}
    return found | {name: tensor.grad for name, tensor in inputs.items()}
