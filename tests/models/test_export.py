"""Detectors are exported as they are: outputs are trees that torch knows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils import _pytree

from sparsevision.factory import create_model
from sparsevision.outputs import DetectionOutput

SMALL = {"ffn_width": 64, "encoder_depth": 1, "decoder_depth": 1, "num_queries": 10, "num_classes": 3}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sparse_detr_nano", "deformable_detr_nano"])
def test_a_detector_is_exported_without_a_wrapper(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model(name, **SMALL).eval()
    images = torch.rand(1, 3, 96, 128)
    with torch.no_grad():
        expected = model(images)
        torch.export.save(torch.export.export(model, (images,)), tmp_path / "detector.pt2")
        output = torch.export.load(tmp_path / "detector.pt2").module()(images)
    assert isinstance(output, DetectionOutput)
    assert [head.scores for head in output.heads] == [head.scores for head in expected.heads]
    torch.testing.assert_close(output.heads[0].logits, expected.heads[0].logits)
    torch.testing.assert_close(output.heads[0].boxes, expected.heads[0].boxes)


def test_an_output_is_a_tree() -> None:
    output = create_model("sparse_detr_nano", **SMALL).eval()(torch.rand(1, 3, 64, 64))
    leaves, shape = _pytree.tree_flatten(output)
    assert all(isinstance(leaf, torch.Tensor | None) for leaf in leaves)
    again = _pytree.tree_unflatten(leaves, shape)
    assert [(head.name, head.scores) for head in again.heads] == [(head.name, head.scores) for head in output.heads]
