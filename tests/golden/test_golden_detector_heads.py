"""The heads of SparseFormer's detector against reference numbers, gradients included."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from golden_cases import read

from sparsevision.models.sparseformer.detector import DetectorHead, SparseFormerDetectorConfig
from sparsevision.models.sparseformer.rois import centred


def test_logits_boxes_and_gradients() -> None:
    case = read("sparseformer_heads", "detector_heads")
    tokens, rois, detecting = case.inputs["tokens"].requires_grad_(), case.inputs["rois"], case.config["detect"]
    outputs, width = case.state["classes.weight"].shape
    head = DetectorHead(
        SparseFormerDetectorConfig(
            num_tokens=tokens.shape[1], num_queries=detecting, cortex_width=width, head_width=8, num_classes=outputs - 1
        )
    )
    head.load_state_dict(case.state)
    logits, found_rois = head(tokens[:, :detecting], rois[:, :detecting])
    boxes = centred(found_rois)
    case.check("logits", logits)
    case.check("boxes", boxes)
    ((logits * case.inputs["w_logits"]).sum() + (boxes * case.inputs["w_boxes"]).sum()).backward()
    found = {"tokens": tokens.grad, **{name: parameter.grad for name, parameter in head.named_parameters()}}
    assert set(case.grads) == set(found)
    for name, gradient in case.grads.items():
        actual = found[name]
        assert actual is not None, name
        torch.testing.assert_close(
            actual, gradient, **case.tolerance["default"], msg=lambda m, name=name: f"{name}: {m}"
        )
