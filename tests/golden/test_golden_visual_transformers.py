"""Visual Transformers against reference numbers: every part in both forms, chains of modules, whole networks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from golden_cases import Case, folder, read

from sparsevision.models.visual_transformer.config import VisualTransformerConfig
from sparsevision.models.visual_transformer.network import VisualTransformer, VTResNet
from sparsevision.models.visual_transformer.projector import TokenProjector
from sparsevision.models.visual_transformer.token_transformer import DenseTokens, TokenTransformer
from sparsevision.models.visual_transformer.tokenizers import (
    ClusteringTokenizer,
    FilterTokenizer,
    PoolingTokenizer,
    RecurrentTokenizer,
)

SYSTEM = "visual_transformers"
# Counts, no case; and the segmentation networks, which test_golden_segmenters.py has.
NOT_HERE = ("budget", "vt_fpn_narrow", "vt_fpn_narrow_all", "vt_fpn_narrow_train")
NAMES = sorted(path.stem for path in folder(SYSTEM).glob("*.json") if path.stem not in NOT_HERE)


def cases(kind: str) -> list[str]:
    described = {name: json.loads((folder(SYSTEM) / f"{name}.json").read_text())["config"]["kind"] for name in NAMES}
    return [name for name, its_kind in described.items() if its_kind == kind]


def filled(module: nn.Module, case: Case) -> nn.Module:
    """Loads the case's weights strictly; the equation form's are stored as those of linear layers."""
    own = module.state_dict()
    state = {name: tensor.reshape(own[name].shape) if name in own else tensor for name, tensor in case.state.items()}
    assert all(own[name].numel() == tensor.numel() for name, tensor in case.state.items() if name in own)
    module.load_state_dict(state, strict=True)
    return module.train(case.config.get("mode") == "train")


def check(case: Case, module: nn.Module, inputs: dict[str, Tensor], outputs: dict[str, Tensor | None]) -> None:
    """Compares outputs, gradients of the probed outputs, and running statistics."""
    probes = {key.removeprefix("probe_"): probe for key, probe in case.inputs.items() if key.startswith("probe_")}
    for name, expected in case.outputs.items():
        if not name.startswith("after."):
            found = outputs[name]
            assert found is not None, name
            case.check(name, found.reshape(expected.shape))
    if case.grads:
        torch.stack([(outputs[name] * probe).sum() for name, probe in probes.items()]).sum().backward()
        parameters = {f"param.{name}": parameter for name, parameter in module.named_parameters()}
        for name, expected in case.grads.items():
            gradient = (parameters | inputs)[name].grad
            bound = case.tolerance.get(f"grad.{name}", case.tolerance["default"])
            assert gradient is not None, name
            torch.testing.assert_close(
                gradient.reshape(expected.shape), expected, **bound, msg=lambda m, name=name: f"{name}: {m}"
            )
    buffers = dict(module.named_buffers())
    for name in (name for name in case.outputs if name.startswith("after.")):
        case.check(name, buffers[name.removeprefix("after.")])


def leaves(case: Case) -> dict[str, Tensor]:
    return {name: case.inputs[name].requires_grad_() for name in ("x", "tokens", "tokens_in") if name in case.inputs}


def tokenizer_of(words: dict[str, Any]) -> nn.Module:
    form, width, count = words["form"], words["channels"], words["tokens"]
    token_width, groups = words.get("token_channels", width), words.get("groups", 1)
    if words["tokenizer"] == "filter":
        value = words.get("value", True)
        return FilterTokenizer(width, token_width, num_tokens=count, form=form, groups=groups, value=value)
    if words["tokenizer"] == "recurrent":
        heads, renewal = words.get("heads", 1), words.get("recurrent", "full")
        return RecurrentTokenizer(width, token_width, form, heads=heads, groups=groups, renewal=renewal)
    if words["tokenizer"] == "pool":
        return PoolingTokenizer(width, token_width, num_tokens=count, form=form)
    iterations = words["iterations"]
    return ClusteringTokenizer(width, token_width, num_tokens=count, form=form, groups=groups, iterations=iterations)


def test_every_case_is_known() -> None:
    assert sorted(name for kind in ("tokenizer", "transformer", "projector", "chain", "resnet")
                           for name in cases(kind)) == NAMES  # fmt: skip


@pytest.mark.parametrize("name", cases("tokenizer"))
def test_tokenizer(name: str) -> None:
    case = read(SYSTEM, name)
    module = nn.ModuleDict({"tokenizer": tokenizer_of(case.config)})
    prefixed = any(key.startswith("tokenizer.") for key in case.state)
    filled(module if prefixed else module["tokenizer"], case)
    inputs = leaves(case)
    module.train(case.config.get("mode") == "train")
    tokens, attention = module["tokenizer"](inputs["x"], inputs.get("tokens", inputs.get("tokens_in")))
    check(case, module if prefixed else module["tokenizer"], inputs, {"tokens": tokens, "attention": attention})


@pytest.mark.parametrize("name", cases("transformer"))
def test_token_transformer(name: str) -> None:
    case = read(SYSTEM, name)
    words = case.config
    width = words.get("token_channels", words.get("channels"))
    if words["relation"] == "attention":
        heads, groups = words.get("heads", 1), words.get("groups", 1)
        module: nn.Module = TokenTransformer(width, words["form"], heads=heads, groups=groups)
    else:
        module = DenseTokens(width, words["form"], graph_of=words["tokens"] if words["relation"] == "graph" else None)
    filled(module, case)
    inputs = leaves(case)
    tokens, attention = module(inputs["tokens"])
    check(case, module, inputs, {"tokens": tokens, "attention": attention})


@pytest.mark.parametrize("name", cases("projector"))
def test_projector(name: str) -> None:
    case = read(SYSTEM, name)
    words = case.config
    width = words["channels"]
    module = TokenProjector(
        words.get("in_channels", width), width, token_width=words.get("token_channels", width), form=words["form"],
        heads=words.get("heads", 1), groups=words.get("groups", 1),
    )  # fmt: skip
    filled(module, case)
    inputs = leaves(case)
    features, attention = module(inputs["x"], inputs["tokens"])
    if words["form"] == "equation":
        attention = attention.squeeze(1).transpose(1, 2)
    check(case, module, inputs, {"features": features, "attention": attention})


def attention_outputs(modules: nn.ModuleList) -> dict[str, Tensor]:
    """Keeps every part's attention under the reference's name, as the parts return it."""
    found: dict[str, Tensor] = {}

    def keep(name: str, equation: bool) -> Any:
        def hook(part: nn.Module, inputs: Any, output: tuple[Tensor, Tensor | None]) -> None:
            if output[1] is not None:
                projected = equation and name.endswith("projector")
                found[name] = output[1].transpose(2, 3) if projected else output[1]

        return hook

    for index, module in enumerate(modules):
        for part in ("tokenizer", "transformer", "projector"):
            if getattr(module, part) is not None:
                equation = getattr(module.transformer, "form", None) == "equation"
                getattr(module, part).register_forward_hook(keep(f"attention{index}.{part}", equation))
    return found


@pytest.mark.parametrize("name", cases("chain"))
def test_chain_of_modules(name: str) -> None:
    case = read(SYSTEM, name)
    words = case.config
    width, fields = words["channels"], {}
    if words["form"] == "budget":
        fields = {"feature_width": width, "token_width": words["token_channels"], "num_heads": words["heads"],
                  "group_width": words["group_width"], "token_groups": words["token_groups"],
                  "recurrence": words["recurrent"]}  # fmt: skip
    config = VisualTransformerConfig(
        width=words.get("in_channels", width) // 4, form=words["form"], num_tokens=words["tokens"],
        num_modules=len(words["tokenizers"]) + 1, **fields,
    )  # fmt: skip
    # The last module of a network has no projector; those of a chain all do.
    module = nn.ModuleDict({"vt": nn.ModuleList(VisualTransformer(config, i) for i in range(len(words["tokenizers"])))})
    filled(module, case)
    outputs = attention_outputs(module["vt"])
    inputs = leaves(case)
    features, tokens = inputs["x"], None
    for index, one in enumerate(module["vt"]):
        features, tokens, _ = one(features, tokens)
        outputs |= {f"features{index}": features, f"tokens{index}": tokens}
    check(case, module, inputs, outputs)


@pytest.mark.parametrize("name", cases("resnet"))
def test_whole_network(name: str) -> None:
    case = read(SYSTEM, name)
    words = case.config
    fields: dict[str, Any] = {}
    if words["form"] == "budget":
        feature_width = words["width"] * (8 if words["depth"] < 50 else 16)
        fields = {
            "feature_width": feature_width, "token_width": words["token_channels"],
            "num_heads": words["heads"], "group_width": words["group_width"], "token_groups": words["token_groups"],
        }  # fmt: skip
    config = VisualTransformerConfig(
        depth=words["depth"], width=words["width"], num_modules=2 if words["depth"] == 18 else 3, form=words["form"],
        num_tokens=words["tokens"], tokenizer=words["tokenizer"], recurrence=words["recurrent"],
        relation=words["relation"], projector="attention" if words["project"] else "none",
        kmeans_iterations=words.get("iterations", 1), num_classes=words["classes"], **fields,
    )  # fmt: skip
    model = VTResNet(config)
    filled(model, case)
    outputs = attention_outputs(model.vt)
    inputs = leaves(case)
    tokens = model.forward_features(inputs["x"])
    check(case, model, inputs, outputs | {"tokens": tokens, "logits": model.forward_head(tokens)})
