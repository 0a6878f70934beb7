"""Packed layers give the numbers of the model they were made from."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn

from sparsevision.models.sparseformer.config import SparseFormerConfig
from sparsevision.models.sparseformer.network import SparseFormer
from sparsevision.models.timm_backbone import TimmBackbone
from sparsevision.models.visual_transformer.config import VisualTransformerConfig
from sparsevision.models.visual_transformer.network import VTResNet
from sparsevision.packing import can_pack, pack_weights
from sparsevision.packing.convolution import PackedConv
from sparsevision.packing.linear import PackedLinear
from sparsevision.packing.residual_blocks import PackedResidualBlock


def small_model() -> SparseFormer:
    config = SparseFormerConfig(
        num_tokens=9,
        num_points=9,
        feature_channels=16,
        focusing_width=32,
        cortex_width=64,
        cortex_depth=2,
        num_classes=7,
    )
    return SparseFormer(config)


def small_visual_transformer(depth: int = 18) -> VTResNet:
    config = VisualTransformerConfig(
        depth=depth, width=8, feature_width=64, token_width=64, num_heads=4, group_width=16, num_classes=7
    )
    return VTResNet(config)


MODELS = {
    "SparseFormer": small_model,
    "Visual Transformer of basic blocks": small_visual_transformer,
    "Visual Transformer of bottlenecks": lambda: small_visual_transformer(50),
    "a detector's backbone": lambda: TimmBackbone("resnet18", 3, {}),
}
COUNTED = nn.Linear, nn.Conv2d, nn.Conv1d, nn.BatchNorm2d, nn.BatchNorm1d


def as_if_trained(model: nn.Module) -> nn.Module:
    """Gives every parameter and every norm's statistics values of their own."""
    random = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.uniform_(0.5, 1.5, generator=random) if "var" in name else tensor.uniform_(
                -0.5, 0.8, generator=random
            )
    return model.eval()


@pytest.fixture(params=MODELS)
def pair(request) -> tuple[str, nn.Module, nn.Module]:
    """A model's name, the model, and its packed form."""
    torch.manual_seed(0)
    model = as_if_trained(MODELS[request.param]())
    if not can_pack(model):
        pytest.skip("this PyTorch has no packed kernels for the machine")
    packed = copy.deepcopy(model)
    assert pack_weights(packed)
    return request.param, model, packed


def test_a_packed_model_agrees_and_has_next_to_no_layer_left(pair) -> None:
    name, model, packed = pair
    # A tokenizer's filters have no norm behind them, and stay.
    assert sum(type(module) in COUNTED for module in packed.modules()) == ("Visual Transformer" in name)
    images = torch.rand(3, 3, 50, 37)
    with torch.inference_mode():
        expected = model(images)
        for _ in range(2):
            torch.testing.assert_close(packed(images), expected, atol=1e-4, rtol=1e-4)


def test_a_block_with_anything_else_that_acts_is_left_alone() -> None:
    for name in ("seresnet18", "resnetblur18", "resnet18d"):
        model = as_if_trained(timm.create_model(name, num_classes=3))
        packed = copy.deepcopy(model)
        if not pack_weights(packed):
            pytest.skip("this PyTorch has no packed kernels for the machine")
        images = torch.rand(2, 3, 64, 48)
        with torch.inference_mode():
            torch.testing.assert_close(packed(images), model(images), atol=1e-4, rtol=1e-4)


def test_half_precision_is_left_alone() -> None:
    model = small_visual_transformer().to(torch.bfloat16)
    assert not pack_weights(model)
    assert not [
        module for module in model.modules() if isinstance(module, (PackedLinear, PackedConv, PackedResidualBlock))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("pair", ["SparseFormer", "Visual Transformer of basic blocks"], indirect=True)
def test_a_packed_model_compiles_with_and_without_gradients_asked_for(pair) -> None:
    _, model, packed = pair
    images = torch.rand(2, 3, 50, 37)
    with torch.inference_mode():
        expected = model(images)
        compiled = torch.compile(packed, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(images), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(compiled(images), expected, atol=1e-4, rtol=1e-4)


def test_a_packed_model_runs_under_autocast(pair) -> None:
    _, model, packed = pair
    images = torch.rand(2, 3, 50, 37)
    with torch.inference_mode():
        expected = model(images)
        with torch.autocast("cpu", torch.bfloat16):
            found = packed(images)
    for one, other in zip(as_list(found), as_list(expected), strict=True):
        torch.testing.assert_close(one.float(), other, atol=0.1, rtol=0.1)


def as_list(answer: torch.Tensor | list[torch.Tensor]) -> list[torch.Tensor]:
    return answer if isinstance(answer, list) else [answer]
