"""Packed linear layers give the numbers of the model they were made from."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sparsevision.layers.packing import PackedLinear, can_pack, pack_linear_layers
from sparsevision.models.sparseformer import SparseFormer, SparseFormerConfig


def small_model() -> SparseFormer:
    torch.manual_seed(0)
    config = SparseFormerConfig(
        num_tokens=9,
        num_points=9,
        feature_channels=16,
        focusing_width=32,
        cortex_width=64,
        cortex_depth=2,
        num_classes=7,
    )
    return SparseFormer(config).eval()


def test_packed_model_agrees_and_has_no_linear_layer_left() -> None:
    model = small_model()
    packed = copy.deepcopy(model)
    if not can_pack(model):
        pytest.skip("this PyTorch has no packed kernels for the machine")
    assert pack_linear_layers(packed)
    assert not [module for module in packed.modules() if type(module) is nn.Linear]
    images = torch.rand(3, 3, 50, 37)
    with torch.inference_mode():
        torch.testing.assert_close(packed(images), model(images), atol=1e-5, rtol=1e-5)


def test_half_precision_is_left_alone() -> None:
    model = small_model().to(torch.bfloat16)
    assert not pack_linear_layers(model)
    assert not [module for module in model.modules() if isinstance(module, PackedLinear)]


@pytest.fixture
def packed() -> tuple[SparseFormer, torch.Tensor, torch.Tensor]:
    """A packed model, pictures, and what the model said of them before."""
    model, images = small_model(), torch.rand(2, 3, 50, 37)
    with torch.inference_mode():
        expected = model(images)
    if not pack_linear_layers(model):
        pytest.skip("this PyTorch has no packed kernels for the machine")
    return model, images, expected


def test_a_packed_model_compiles_with_and_without_gradients_asked_for(packed) -> None:
    model, images, expected = packed
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(images), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(compiled(images), expected, atol=1e-5, rtol=1e-5)


def test_a_packed_model_runs_under_autocast(packed) -> None:
    model, images, expected = packed
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model(images).float(), expected, atol=0.05, rtol=0.05)
