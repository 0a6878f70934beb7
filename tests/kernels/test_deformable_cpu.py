"""The fast forms of deformable attention on a CPU read, and teach, what the plain form does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sparsevision.kernels.deformable_cpu import CHUNK
from sparsevision.kernels.dispatch import plain_operators
from sparsevision.models.sparse_detr.deformable import DeformableAttention, sample_levels

Shapes = list[tuple[int, int]]
Inputs = tuple[Tensor, Tensor, Tensor]

PYRAMIDS = {
    "usual": [(9, 12), (5, 6), (3, 3)],
    "one row": [(1, 7), (3, 4)],
    "one column": [(7, 1), (4, 3)],
    "one pixel": [(1, 1), (2, 2)],
}
ROUNDING = {"atol": 1e-5, "rtol": 1e-5}


def draw(
    shapes: Shapes, queries: int = 11, batch: int = 2, heads: int = 2, channels: int = 8, points: int = 3
) -> Inputs:
    """Draws values, locations inside and up to half an image outside, and weights that sum to one."""
    random = torch.Generator().manual_seed(0)
    tokens = sum(height * width for height, width in shapes)
    values = torch.randn(batch, tokens, heads, channels, generator=random)
    locations = torch.rand(batch, queries, heads, len(shapes), points, 2, generator=random) * 2 - 0.5
    weights = torch.rand(batch, queries, heads, len(shapes) * points, generator=random).softmax(dim=-1)
    return values, locations, weights.unflatten(-1, (len(shapes), points))


def learn(inputs: Inputs, shapes: Shapes) -> list[Tensor]:
    """Returns what is read, and the gradients of values, locations and weights for gradients that all differ."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    read = sample_levels(leaves[0], shapes, *leaves[1:])
    read.backward(torch.linspace(-1, 1, read.numel()).view_as(read))
    gradients = [leaf.grad for leaf in leaves]
    return [read.detach(), *(gradient for gradient in gradients if gradient is not None)]


def check_forms(inputs: Inputs, shapes: Shapes) -> None:
    """Compares the form for inference and the one for training with the plain form."""
    with plain_operators():
        expected = learn(inputs, shapes)
    found = learn(inputs, shapes)
    assert len(found) == len(expected) == 4
    for name, ours, theirs in zip(("read", "values", "locations", "weights"), found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, **ROUNDING, msg=lambda m, name=name: f"{name}: {m}")
    with torch.no_grad():
        torch.testing.assert_close(sample_levels(inputs[0], shapes, *inputs[1:]), expected[0], **ROUNDING)


@pytest.mark.parametrize("name", PYRAMIDS)
def test_fast_forms_are_the_plain_form(name: str) -> None:
    check_forms(draw(PYRAMIDS[name]), PYRAMIDS[name])


@pytest.mark.parametrize("queries", [0, 1, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1])
def test_any_number_of_queries(queries: int) -> None:
    shapes = [(3, 4), (2, 2)]
    check_forms(draw(shapes, queries, points=1), shapes)


@pytest.mark.parametrize("where", [-1e6, -1.0, -0.125, 0.0, 0.125, 0.5, 0.875, 1.0, 1.125, 2.0, 1e6])
def test_points_on_pixels_on_the_border_and_far_outside(where: float) -> None:
    shapes = [(4, 4), (1, 4)]
    values, locations, weights = draw(shapes)
    locations[:, ::2, ..., 0] = where
    locations[:, 1::2, ..., 1] = where
    check_forms((values, locations, weights), shapes)


@pytest.mark.parametrize("where", [-1e30, -1e9, 1e9, 1e30])
def test_beyond_all_integers_there_is_zero(where: float) -> None:
    shapes = [(4, 4), (1, 4), (1, 1)]
    values, locations, weights = draw(shapes)
    read, *gradients = learn((values, torch.full_like(locations, where), weights), shapes)
    assert not read.any()
    assert not any(gradient.any() for gradient in gradients)


def test_a_location_that_is_no_number_spoils_its_own_query_alone() -> None:
    shapes = PYRAMIDS["usual"]
    inputs = draw(shapes)
    before = learn(inputs, shapes)
    inputs[1][0, 4, 1, 0, 0, 0] = float("nan")
    inputs[1][1, 5, 0, 2, 1, 1] = float("inf")
    read, to_values, to_locations, to_weights = learn(inputs, shapes)
    assert to_values.shape == inputs[0].shape
    spoilt = torch.zeros(2, 11, 2, dtype=torch.bool)
    spoilt[0, 4, 1] = spoilt[1, 5, 0] = True
    for ours, theirs in ((read.unflatten(-1, (2, 8)), before[0].unflatten(-1, (2, 8))), (to_locations, before[2])):
        torch.testing.assert_close(ours[~spoilt], theirs[~spoilt], **ROUNDING)
    assert to_weights[0, 4, 1].isnan().any()
    assert read[0, 4, 8:].isnan().all()


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2)])
def test_only_the_gradients_that_are_asked_for(wanted: tuple[int, ...]) -> None:
    shapes = PYRAMIDS["usual"]
    inputs = draw(shapes)
    expected = learn(inputs, shapes)
    leaves = [tensor.clone().requires_grad_(place in wanted) for place, tensor in enumerate(inputs)]
    read = sample_levels(leaves[0], shapes, *leaves[1:])
    read.backward(torch.linspace(-1, 1, read.numel()).view_as(read))
    for place, leaf in enumerate(leaves):
        if place in wanted:
            torch.testing.assert_close(leaf.grad, expected[1 + place])
        else:
            assert leaf.grad is None


def test_values_that_lie_scattered_in_memory() -> None:
    shapes = PYRAMIDS["usual"]
    values, locations, weights = draw(shapes)
    scattered = values.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
    check_forms((scattered, locations, weights), shapes)


def test_autocast_reads_in_full_precision() -> None:
    shapes = PYRAMIDS["usual"]
    values, locations, weights = draw(shapes)
    values = values.bfloat16()
    expected = learn((values.float(), locations, weights), shapes)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = learn((values, locations, weights), shapes)
    assert found[0].dtype == torch.float32
    assert found[1].dtype == torch.bfloat16
    torch.testing.assert_close(found[0], expected[0], **ROUNDING)
    torch.testing.assert_close(found[1].float(), expected[1], atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(found[2], expected[2], **ROUNDING)


def test_other_precisions_take_the_plain_form() -> None:
    shapes = PYRAMIDS["usual"]
    inputs = draw(shapes)
    expected = learn(inputs, shapes)
    found = learn((inputs[0].double(), inputs[1].double(), inputs[2].double()), shapes)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float64
        torch.testing.assert_close(ours.float(), theirs, atol=1e-4, rtol=1e-4)


def module_and_inputs(shapes: Shapes) -> tuple[DeformableAttention, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    module = DeformableAttention(16, num_levels=len(shapes), num_heads=2, num_points=3).eval()
    tokens = sum(height * width for height, width in shapes)
    return module, (torch.randn(2, 5, 16), torch.rand(2, 5, len(shapes), 2), torch.randn(2, tokens, 16))


def test_the_module_still_exports() -> None:
    shapes = PYRAMIDS["usual"]
    module, inputs = module_and_inputs(shapes)
    program = torch.export.export(module, (*inputs, shapes))
    assert "sparsevision" not in str(program.graph)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(*inputs, shapes)[0], module(*inputs, shapes)[0], **ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize("gradients", [False, True])
def test_the_module_compiles_whole(gradients: bool) -> None:
    shapes = PYRAMIDS["usual"]
    module, inputs = module_and_inputs(shapes)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(compiled(*inputs, shapes)[0], module(*inputs, shapes)[0], **ROUNDING)
