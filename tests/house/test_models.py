"""What every registered model owes its users; the smallest of each family goes through all of it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sparsevision.checkpoints import load_into, read_checkpoint, save_checkpoint
from sparsevision.models.registry import variants
from sparsevision.types import TRACE_KINDS, DetectionOutput, Trace

# With the frozen stem and first stage: 0.2224 M of ResNet-50, 0.3041 M of Swin-T.
DETECTORS = {
    "deformable_detr_r50": 40_069_665,
    "deformable_detr_refined_r50": 40_849_660,
    "deformable_detr_two_stage_r50": 41_181_529,
    "deformable_detr_efficient_r50": 41_049_689,
    "deformable_detr_swin_t": 40_612_699,
    "deformable_detr_refined_swin_t": 41_392_694,
    "deformable_detr_two_stage_swin_t": 41_724_563,
    "deformable_detr_efficient_swin_t": 41_592_723,
    **{f"sparse_detr_r50_{percent}": 41_937_205 for percent in (10, 20, 30, 40, 50)},
    **{f"sparse_detr_swin_t_{percent}": 42_480_239 for percent in (10, 20, 30, 40, 50)},
}
PARAMETERS = {
    "sparseformer_tiny": 31_522_212,
    "sparseformer_small": 47_575_056,
    "sparseformer_base": 81_076_996,
    "sparseformer_augreg_base": 64_185_448,
    "sparseformer_augreg_large": 212_426_984,
    "sparseformer_clip_base": 63_809_664,
    "sparseformer_clip_large": 212_188_476,
    "vt_resnet18": 11_671_592,
    "vt_resnet34": 21_892_392,
    "vt_resnet50": 22_149_160,
    "vt_resnet101": 41_141_288,
    **DETECTORS,
}
SMALLEST = {
    "sparseformer": "sparseformer_nano",
    "sparse_detr": "sparse_detr_nano",
    "visual_transformer": "vt_resnet18",
}
LARGEST_NANO = {"sparseformer": 6_000_000, "sparse_detr": 10_000_000}


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", variants())
def test_every_registered_model_has_its_exact_number_of_parameters(name: str) -> None:
    variant = variants()[name]
    assert variant.name == name
    with torch.device("meta"):
        model = variant.family.model_class(variant.config)
    if name.endswith("_nano"):
        assert _count(model) <= LARGEST_NANO[variant.family.name]
    else:
        assert _count(model) == PARAMETERS[name]


@pytest.mark.parametrize("name", variants())
def test_every_family_has_its_smallest(name: str) -> None:
    assert variants()[name].family.name in SMALLEST


@cache
def _made(family: str) -> nn.Module:
    torch.manual_seed(0)
    variant = variants()[SMALLEST[family]]
    model = variant.family.model_class(replace(variant.config, num_classes=7)).eval()
    # Zero-initialised weights hide the parts behind them: with these, every part moves the output.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return model


@pytest.fixture(params=SMALLEST)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return copy.deepcopy(_made(request.param))


def _pictures(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth pictures: on white noise every sampling multiplies rounding errors."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(batch, 3, 4, 4, generator=generator)
    return nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)


def _numbers(answer: Tensor | DetectionOutput) -> Tensor:
    """All numbers of an answer, whatever the task, as one tensor with the classes or boxes last."""
    if isinstance(answer, Tensor):
        return answer
    return torch.cat([torch.cat([head.logits, head.boxes], dim=-1) for head in answer.heads], dim=1)


def _loss(answer: Tensor | DetectionOutput) -> Tensor:
    """Something that every number of an answer takes part in."""
    if isinstance(answer, Tensor):
        return nn.functional.cross_entropy(answer, torch.tensor([1, 5]))
    return _numbers(answer).square().mean() + sum(loss.mean() for loss in answer.auxiliary_losses.values())


def test_forward(model: nn.Module) -> None:
    with torch.inference_mode():
        answer = model(_pictures(2, 96, 96))
    logits = answer if isinstance(answer, Tensor) else answer.heads[0].logits
    assert (logits.shape[0], logits.shape[-1]) == (2, 7)
    assert _numbers(answer).isfinite().all()
    assert not torch.allclose(logits[0], logits[1])


def test_backward_reaches_every_parameter(model: nn.Module) -> None:
    model.train()
    _loss(model(_pictures(2, 64, 64))).backward()
    missed = [name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not missed
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("size", [(33, 47), (97, 64), (1, 1), (8, 200), (161, 159)])
def test_any_height_and_width(model: nn.Module, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert _numbers(model(_pictures(1, *size))).isfinite().all()


def test_a_picture_gets_the_same_answer_in_any_batch(model: nn.Module) -> None:
    pictures = _pictures(3, 80, 64)
    with torch.inference_mode():
        together = _numbers(model(pictures))
        alone = torch.cat([_numbers(model(picture[None])) for picture in pictures])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_compiles_as_one_graph(model: nn.Module) -> None:
    # The graph is what is tested here, not the code that a backend makes of it.
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    pictures = _pictures(2, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(_numbers(compiled(pictures)), _numbers(model(pictures)), atol=1e-4, rtol=1e-4)


def test_saved_and_loaded_it_gives_the_same_numbers(model: nn.Module, tmp_path: Path) -> None:
    (name,) = [name for name in SMALLEST.values() if isinstance(model, variants()[name].family.model_class)]
    labels = tuple("abcdefg")
    save_checkpoint(tmp_path / "saved", model, name=name, preprocessing=variants()[name].preprocessing, labels=labels)
    found = read_checkpoint(tmp_path / "saved")
    fresh = type(model)(model.config).eval()
    load_into(fresh, found)
    assert (found.model_name, found.labels, found.preprocessing) == (name, labels, variants()[name].preprocessing)
    with torch.inference_mode():
        pictures = _pictures(1, 64, 64)
        assert torch.equal(_numbers(fresh(pictures)), _numbers(model(pictures)))


def test_tracing_changes_nothing_and_records_fractions_of_the_picture(model: nn.Module) -> None:
    pictures, trace = _pictures(2, 64, 96), Trace()
    with torch.inference_mode():
        plain, traced = _numbers(model(pictures)), _numbers(model(pictures, trace=trace))
    torch.testing.assert_close(plain, traced, atol=1e-5, rtol=1e-5)
    assert {kind for kind in TRACE_KINDS if trace.of(kind)} == set(model.traces)
    found = list(_observed(trace))
    for tensor in found:
        assert tensor.shape[0] == 2
        assert tensor.isfinite().all()
    for points in trace.points.values():
        assert (points.xy > -1).float().mean() > 0.9
        assert (points.xy < 2).float().mean() > 0.9
    one = trace[1]
    assert [tensor.ndim for tensor in _observed(one)] == [tensor.ndim - 1 for tensor in found]


def _observed(trace: Trace) -> Iterator[Tensor]:
    for kind in TRACE_KINDS:
        for observation in trace.of(kind).values():
            yield from (value for value in vars(observation).values() if isinstance(value, Tensor))


def test_parameter_groups_hold_every_parameter_once(model: nn.Module) -> None:
    named = [name for group in model.parameter_groups() for name, _ in group.parameters]
    assert sorted(named) == sorted(name for name, p in model.named_parameters() if p.requires_grad)
