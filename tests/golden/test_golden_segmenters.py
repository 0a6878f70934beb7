"""The segmenters against reference numbers: VT-FPN whole, and SparseFormer's attention and head."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from golden_cases import Case, folder, read

from sparsevision.kernels.dispatch import plain_operators
from sparsevision.models.sparseformer import segmenter
from sparsevision.models.sparseformer.segmenter import (
    LocationAwareAttention,
    SegmenterHead,
    SparseFormerSegmenterConfig,
)
from sparsevision.models.visual_transformer.fpn import FPNSegmenter
from sparsevision.models.visual_transformer.fpn_config import FPNConfig

FPNS = sorted(path.stem for path in folder("visual_transformers").glob("vt_fpn_*.json"))
ATTENTIONS = sorted(path.stem for path in folder("sparseformer_heads").glob("segmenter_attention*.json"))


def enlarged(logits: Tensor) -> Tensor:
    return F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)


def fpn_of(case: Case) -> FPNSegmenter:
    """Builds the network, whose reference has no common name for what is the neck here."""
    words = case.config
    config = FPNConfig(
        backbone="resnet50", backbone_width=words["width"], frozen_stages="none", width=words["channels"],
        token_width=words["token_channels"], num_tokens=words["tokens"], num_heads=words["heads"],
        groups=words["groups"], token_groups=words["token_groups"], see=words["see"], head_width=words["head_width"],
        head_groups=words["head_groups"], num_classes=words["classes"],
    )  # fmt: skip
    # Frozen norms count no batches.
    state = {ours(name): tensor for name, tensor in case.state.items() if not counter(name)}
    network = FPNSegmenter(config)
    network.load_state_dict(state)
    return network.train(words.get("mode") == "train")


def ours(name: str) -> str:
    return name if name.startswith(("backbone.", "head.")) else f"neck.{name}"


def counter(name: str) -> bool:
    return name.startswith("backbone.") and name.endswith("num_batches_tracked")


def close(found: dict[str, Tensor | None], expected: dict[str, Tensor], case: Case) -> None:
    for name, gradient in expected.items():
        bound = case.tolerance.get(f"grad.{name}", case.tolerance["default"])
        actual = found[name]
        assert actual is not None, name
        torch.testing.assert_close(actual, gradient, **bound, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("name", FPNS)
def test_vt_fpn(name: str) -> None:
    case = read("visual_transformers", name)
    network, images = fpn_of(case), case.inputs["x"].requires_grad_()
    logits = enlarged(network(images).heads[0].logits)
    case.check("logits", logits)
    if case.grads:
        (logits * case.inputs["probe_logits"]).sum().backward()
        found = {f"param.{name}": parameter.grad for name, parameter in network.named_parameters()}
        expected = {
            f"param.{ours(name.removeprefix('param.'))}" if name.startswith("param.") else name: gradient
            for name, gradient in case.grads.items()
        }
        close(found | {"x": images.grad}, expected, case)
    buffers = dict(network.named_buffers())
    for key in (key for key in case.outputs if key.startswith("after.") and not counter(key.removeprefix("after."))):
        case.check(key, buffers[ours(key.removeprefix("after."))])


def test_vt_fpn_has_a_case_with_gradients() -> None:
    assert any(read("visual_transformers", name).grads for name in FPNS)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("name", ATTENTIONS)
def test_location_aware_attention(name: str, plain: bool) -> None:
    case = read("sparseformer_heads", name)
    width, channels = case.state["query.weight"].shape
    config = SparseFormerSegmenterConfig(restored_width=width, restored_heads=case.config["heads"])
    attention = LocationAwareAttention(channels, case.state["key.weight"].shape[1], config)
    attention.load_state_dict(case.state)
    inputs = {name: case.inputs[name].requires_grad_() for name in ("features", "tokens", "rois")}
    with plain_operators() if plain else nullcontext():
        restored = attention(*inputs.values())
    case.check("restored", restored)
    (restored * case.inputs["w"]).sum().backward()
    close({name: each.grad for name, each in [*inputs.items(), *attention.named_parameters()]}, case.grads, case)


@pytest.mark.parametrize("block", [1 << 15, 30, 20, 10])
def test_segmenter_head_whole_and_in_blocks_of_rows(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = read("sparseformer_heads", "segmenter_head")
    config = SparseFormerSegmenterConfig(
        restored_width=case.state["attention.query.weight"].shape[0],
        decoder_width=case.state["classifier.weight"].shape[1],
        num_classes=len(case.state["classifier.weight"]),
    )
    channels, token_width = (case.state[f"attention.{name}.weight"].shape[1] for name in ("query", "key"))
    head = SegmenterHead(channels, token_width, config)
    head.load_state_dict(case.state)
    head.eval()
    monkeypatch.setattr(segmenter, "BLOCK", block)
    inputs = [case.inputs[name] for name in ("features", "tokens", "rois")]
    with torch.no_grad():
        logits = head(*inputs)
    case.check("logits_stride4", logits)
    case.check("logits", enlarged(logits))
    case.check("logits_stride4", head(*inputs))
