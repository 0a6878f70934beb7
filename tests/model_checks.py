"""What every model owes its users, as plain functions of a model and its registered name.

A family's smallest model is the first of its variants. New families are put through the same functions.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparsevision.checkpoints import load_into, read_checkpoint, save_checkpoint
from sparsevision.errors import CheckpointError
from sparsevision.factory import create_model, load_model
from sparsevision.models.registry import variant_named, variants
from sparsevision.packing import pack_weights
from sparsevision.types import TRACE_KINDS, Trace

CLASSES = 7
SIZES = ((33, 47), (97, 64), (1, 1), (8, 200), (161, 159))


def smallest(family: str) -> str:
    """The name of the model of a family that stands for it."""
    return next(name for name, variant in variants().items() if variant.family.name == family)


@cache
def _made(name: str) -> nn.Module:
    torch.manual_seed(0)
    variant = variant_named(name)
    model = variant.family.model_class(replace(variant.config, num_classes=CLASSES)).eval()
    # Zero-initialised weights hide the parts behind them: with these, every part moves the output.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return model


def make(name: str) -> nn.Module:
    """A model with weights of its own, for seven classes."""
    return copy.deepcopy(_made(name))


def smooth_images(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth images: on white noise every sampling multiplies rounding errors."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(batch, 3, 4, 4, generator=generator)
    return nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)


def inputs(name: str, batch: int, height: int, width: int) -> Tensor:
    """Images as a model takes them, or clips of an image that moves."""
    images = smooth_images(batch, height, width)
    frames = variant_named(name).preprocessing.frames
    return images if frames is None else torch.stack([images.roll(number, -1) for number in range(4)], dim=2)


def tensors_of(answer: Any) -> Iterator[Tensor]:
    """All floating-point tensors of an answer, whatever the task."""
    if isinstance(answer, Tensor):
        if answer.is_floating_point():
            yield answer
    elif is_dataclass(answer):
        for field in fields(answer):
            yield from tensors_of(getattr(answer, field.name))
    elif isinstance(answer, dict | tuple | list):
        for part in answer.values() if isinstance(answer, dict) else answer:
            yield from tensors_of(part)


def numbers(answer: Any) -> Tensor:
    """All numbers of an answer, one row an image."""
    return torch.cat([tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None] for tensor in tensors_of(answer)], 1)


def check_outputs(model: nn.Module, name: str) -> None:
    with torch.inference_mode():
        answer = model(inputs(name, 2, 96, 96))
    first = next(tensors_of(answer))
    # Classes are the last axis, or the second one where the others are a map's.
    wanted = CLASSES + getattr(model.config, "background", 0)
    assert (first.shape[0], first.shape[1 if first.ndim == 4 else -1]) == (2, wanted)
    assert numbers(answer).isfinite().all()
    assert not torch.allclose(first[0], first[1])
    assert model.outputs in ("classes", "embedding")


def check_gradients_reach_every_parameter(model: nn.Module, name: str) -> None:
    model.train()
    numbers(model(inputs(name, 2, 64, 64))).square().mean().backward()
    missed = [each for each, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not missed
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def check_any_height_and_width(model: nn.Module, name: str) -> None:
    for size in SIZES:
        with torch.inference_mode():
            assert numbers(model(inputs(name, 1, *size))).isfinite().all(), size


def check_an_image_gets_the_same_answer_in_any_batch(model: nn.Module, name: str) -> None:
    images = inputs(name, 3, 80, 64)
    with torch.inference_mode():
        together = numbers(model(images))
        alone = torch.cat([numbers(model(image[None])) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def check_compiles_as_one_graph(model: nn.Module, name: str) -> None:
    # The graph is what is tested here, not the code that a backend makes of it.
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    images = inputs(name, 2, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(numbers(compiled(images)), numbers(model(images)), atol=1e-4, rtol=1e-4)


def check_saved_and_loaded_it_gives_the_same_numbers(model: nn.Module, name: str) -> None:
    labels, shown = tuple("abcdefg"), variant_named(name).preprocessing
    with TemporaryDirectory() as folder:
        save_checkpoint(Path(folder) / "saved", model, name=name, preprocessing=shown, labels=labels)
        found = read_checkpoint(Path(folder) / "saved")
    fresh = type(model)(model.config).eval()
    load_into(fresh, found)
    named = load_model(found).eval()
    assert (found.model_name, found.labels, found.preprocessing) == (name, labels, shown)
    assert (named.identity.name, named.identity.labels, named.config) == (name, labels, model.config)
    with torch.inference_mode():
        images = inputs(name, 1, 64, 64)
        expected = numbers(model(images))
        assert torch.equal(numbers(fresh(images)), expected)
        assert torch.equal(numbers(named(images)), expected)


def check_packed_it_gives_the_same_numbers_and_is_not_saved(model: nn.Module, name: str) -> None:
    images = inputs(name, 2, 64, 64)
    packed = copy.deepcopy(model)
    if not pack_weights(packed):
        pytest.skip("this PyTorch has no packed kernels for the machine")
    with torch.inference_mode():
        torch.testing.assert_close(numbers(packed(images)), numbers(model(images)), atol=1e-3, rtol=1e-3)
    shown = variant_named(name).preprocessing
    with TemporaryDirectory() as folder, pytest.raises(CheckpointError, match="open the model anew"):
        save_checkpoint(Path(folder) / "saved", packed, name=name, preprocessing=shown, labels=None)


def check_copies_and_pickles(model: nn.Module, name: str) -> None:
    made = create_model(name, num_classes=CLASSES)
    for twin in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert type(twin) is type(made)
        assert twin.identity == made.identity


def check_tracing_changes_nothing_and_records_fractions_of_the_image(model: nn.Module, name: str) -> None:
    images, trace = inputs(name, 2, 64, 96), Trace()
    with torch.inference_mode():
        plain, traced = numbers(model(images)), numbers(model(images, trace=trace))
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


def check_parameter_groups_hold_every_parameter_once(model: nn.Module, name: str) -> None:
    named = [name for group in model.parameter_groups() for name, _ in group.parameters]
    assert sorted(named) == sorted(name for name, p in model.named_parameters() if p.requires_grad)


def check_controls_are_taken_by_forward(model: nn.Module, name: str) -> None:
    for control in model.controls.values():
        with torch.inference_mode():
            for value in (control.minimum, control.default, control.maximum):
                assert numbers(model(inputs(name, 1, 64, 64), **{control.name: value})).isfinite().all()


CHECKS: dict[str, Callable[[nn.Module, str], None]] = {
    name.removeprefix("check_"): check for name, check in list(globals().items()) if name.startswith("check_")
}
# Compiling takes as long as all other checks together.
EACH_CHECK = [pytest.param(name, marks=[pytest.mark.slow] * name.startswith("compiles")) for name in CHECKS]
