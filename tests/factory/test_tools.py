"""Models under other people's tools: they work, or one sentence tells what to use instead."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.feature_extraction import create_feature_extractor

from sparsevision.errors import ConfigError
from sparsevision.factory import create_model
from sparsevision.outputs import DetectionOutput

MODELS = ("sparseformer_nano", "vt_resnet18", "sparse_detr_nano")


def made(name: str) -> Any:
    torch.manual_seed(0)
    return create_model(name, **({"selection": "all", "encoder_depth": 1} if "detr" in name else {})).eval()


def logits(output: Any) -> torch.Tensor:
    return output.heads[0].logits if isinstance(output, DetectionOutput) else output


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("dtype", "most"), [(torch.bfloat16, 0.1), (torch.float16, 0.02), (torch.float64, 1e-5)])
def test_weights_may_be_in_any_precision(name: str, dtype: torch.dtype, most: float) -> None:
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    model = made(name)
    with torch.no_grad():
        expected, found = logits(model(images)), logits(model.to(dtype)(images.to(dtype)))
    assert found.dtype == dtype
    assert (found.double() - expected.double()).abs().mean() < most * expected.abs().max()


@pytest.mark.parametrize("name", ["sparseformer_nano", "sparse_detr_nano"])
def test_a_model_in_double_has_its_losses_and_gradients_in_double(name: str) -> None:
    model = made(name).double().train()
    output = model(torch.randn(2, 3, 64, 64, dtype=torch.float64))
    heads = output.heads if isinstance(output, DetectionOutput) else ()
    assert all(head.boxes.dtype == head.probabilities().dtype == torch.float64 for head in heads)
    logits(output).sum().backward()
    assert all(each.grad is None or each.grad.dtype == torch.float64 for each in model.parameters())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("gradients", [False, True])
def test_operations_are_counted_with_and_without_gradients(name: str, gradients: bool) -> None:
    model = made(name)
    with torch.set_grad_enabled(gradients), FlopCounterMode(display=False) as counter:
        model(torch.randn(1, 3, 64, 64))
    assert counter.get_total_flops() > 1e7


@pytest.mark.parametrize("name", MODELS)
def test_symbolic_tracing_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(ConfigError, match=r"torch\.fx cannot trace it: use torch\.export\.export"):
        create_feature_extractor(made(name), ["head"])


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*deprecated:FutureWarning")
def test_a_classifier_is_traced_and_a_detector_tells_what_to_use() -> None:
    images, model = torch.randn(1, 3, 64, 64), made("sparseformer_nano")
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.trace(model, images)(images), model(images))
    with pytest.raises(ConfigError, match=r"a detector's output: use torch\.export\.export"):
        torch.jit.trace(made("sparse_detr_nano"), images)
