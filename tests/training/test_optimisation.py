"""Parameter groups and the rate of each step."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from stand_ins import TinyNet
from torch import nn

from sparsevision.errors import ConfigError, UnknownNameError
from sparsevision.training.optimisation import Schedule, make_optimiser, parameter_groups
from sparsevision.training.recipe import Recipe
from sparsevision.training.sections import DataSection, OptimiserSection, ScheduleSection


def named(model: nn.Module, section: OptimiserSection) -> dict[str, tuple[float, float]]:
    groups = parameter_groups(model, section)
    return {name: (group["weight_decay"], group["lr_scale"]) for group in groups for name in group["names"]}


def test_norms_and_biases_do_not_decay_and_the_head_may_be_faster() -> None:
    found = named(TinyNet(), OptimiserSection(weight_decay=0.1, head_lr_factor=10.0))
    assert found["stem.weight"] == (0.1, 1.0)
    assert found["stem.bias"] == found["norm.weight"] == (0.0, 1.0)
    assert found["head.weight"] == (0.1, 10.0)
    assert found["head.bias"] == (0.0, 10.0)
    assert set(found) == dict(TinyNet().named_parameters()).keys()


def test_sparseformer_says_itself_what_decays() -> None:
    from sparsevision import create_model

    with torch.device("meta"):
        model = create_model("sparseformer_nano", num_classes=3)
    found = named(model, OptimiserSection(weight_decay=0.05))
    assert found["tokens.roi"][0] == 0.0
    assert found["tokens.embedding"][0] == 0.05
    assert set(found) == dict(model.named_parameters()).keys()


def test_layers_below_the_head_learn_slower() -> None:
    import timm

    with torch.device("meta"):
        model = timm.create_model("vit_tiny_patch16_224", depth=3, num_classes=3)
    found = named(model, OptimiserSection(layer_decay=0.5))
    assert found["head.weight"][1] == 1.0
    scales = [found[f"blocks.{number}.attn.qkv.weight"][1] for number in range(3)]
    assert scales == sorted(scales)
    assert scales[0] == pytest.approx(scales[1] / 2)
    assert found["patch_embed.proj.weight"][1] < scales[0]


def rates(form: str, steps: int, **values: object) -> list[float]:
    parameters = [{"params": [nn.Parameter(torch.zeros(1))], "lr_scale": 1.0}]
    optimiser = make_optimiser(parameters, OptimiserSection(), 1.0)
    section = ScheduleSection(form=form, warmup_start=0.1, floor=0.2, **values)
    schedule = Schedule(optimiser, section, 1.0, 10)
    found = [schedule.set(step) for step in range(steps)]
    assert optimiser.param_groups[0]["lr"] == found[-1]
    return found


def test_the_released_schedule_is_not_shifted_and_lags_a_step() -> None:
    found = rates("released", 100, epochs=10, warmup_epochs=2)
    cosine = [0.2 + 0.4 * (1 + math.cos(math.pi * t / 100)) for t in range(100)]
    expected = [0.1, *(0.1 + t * 0.9 / 20 if t < 20 else cosine[t] for t in range(99))]
    assert found == pytest.approx(expected)


def test_the_shifted_schedule_peaks_where_the_warmup_ends() -> None:
    found = rates("shifted", 100, epochs=10, warmup_epochs=2)
    assert found[0] == pytest.approx(0.1)
    assert max(found) == found[20] == pytest.approx(1.0)
    assert found[60] == pytest.approx(0.6)
    assert found[99] == pytest.approx(0.2, abs=1e-3)


def test_steps_drop_after_their_epochs_and_not_a_step_before() -> None:
    found = rates("steps", 100, epochs=10, drop_after=(4, 8), drop=0.1)
    assert found == pytest.approx([1.0] * 40 + [0.1] * 40 + [0.01] * 20)
    warmed = rates("steps", 50, epochs=10, warmup_epochs=1, drop_after=(4,))
    assert warmed == pytest.approx([0.1 + step * 0.09 for step in range(10)] + [1.0] * 30 + [0.1] * 10)


def test_the_exponential_schedule_falls_after_every_epoch_behind_the_warmup() -> None:
    found = rates("exponential", 50, epochs=5, warmup_epochs=2, drop=0.5)
    assert found == pytest.approx([0.1 + step * 0.045 for step in range(20)] + [1.0] * 10 + [0.5] * 10 + [0.25] * 10)


def test_the_polynomial_schedule_falls_by_the_power_of_what_is_left() -> None:
    found = rates("polynomial", 100, epochs=10, warmup_epochs=2, power=0.9)
    falling = [0.2 + 0.8 * (1 - step / 80) ** 0.9 for step in range(80)]
    assert found == pytest.approx([0.1 + step * 0.045 for step in range(20)] + falling)
    straight = rates("polynomial", 100, epochs=10, power=1.0)
    assert straight == pytest.approx([1 - 0.8 * step / 100 for step in range(100)])


@pytest.mark.parametrize("form", ["shifted", "released", "exponential", "polynomial"])
def test_a_run_may_be_counted_in_steps(form: str) -> None:
    epochs = rates(form, 100, epochs=10, warmup_epochs=2)
    assert rates(form, 100, iterations=100, warmup_iterations=20) == epochs
    assert rates(form, 100, iterations=100, warmup_epochs=2) == epochs
    assert rates(form, 100, epochs=10, warmup_iterations=20) == epochs


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"iterations": 0}, "iterations"),
        ({"iterations": 10, "warmup_iterations": 10}, "warmup_iterations"),
        ({"iterations": 10, "form": "steps", "drop_after": (4,)}, "iterations"),
        ({"warmup_iterations": -1}, "warmup_iterations"),
        ({"form": "polynomial", "power": 0.0}, "power"),
    ],
)
def test_iterations_that_make_no_sense_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ScheduleSection(**{"epochs": 10, **wrong})


@pytest.mark.parametrize("wrong", [{"iterations": 15, "warmup_epochs": 2}, {"epochs": 2, "warmup_iterations": 20}])
def test_a_warmup_that_never_ends_is_one_sentence(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"warm-up of 20 steps .* run of (15|20) steps"):
        rates("shifted", 1, **wrong)


def test_groups_keep_their_share_of_the_rate_when_it_drops() -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr_scale": scale} for scale in (1.0, 0.1)]
    optimiser = make_optimiser(groups, OptimiserSection(), 2e-4)
    Schedule(optimiser, ScheduleSection(epochs=5, form="steps", drop_after=(4,)), 2e-4, 10).set(40)
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([2e-5, 2e-6])


@pytest.mark.parametrize(
    "wrong",
    [
        {"form": "steps"},
        {"drop_after": (4,)},
        {"form": "steps", "drop_after": (4, 4)},
        {"form": "steps", "drop_after": (10,)},
    ],
)
def test_drops_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="drop_after"):
        ScheduleSection(epochs=10, **wrong)


@pytest.mark.parametrize(("scaling", "rate"), [("linear", 1e-4), ("sqrt", 2e-4 / math.sqrt(2))])
def test_the_rate_follows_the_batch_as_it_is_told(scaling: str, rate: float) -> None:
    optimiser = OptimiserSection(lr=2e-4, lr_for_batch=16, lr_scaling=scaling)
    assert Recipe(data=DataSection(batch=8), optimiser=optimiser).peak_lr == pytest.approx(rate)


def test_an_unknown_optimiser_gets_the_nearest_names() -> None:
    with pytest.raises(UnknownNameError, match="adamw"):
        make_optimiser([], OptimiserSection(name="adamww"), 1.0)


def test_options_that_an_optimiser_refuses_are_one_sentence() -> None:
    groups = parameter_groups(TinyNet(), OptimiserSection())
    with pytest.raises(ConfigError, match="refused its options"):
        make_optimiser(groups, OptimiserSection(name="sgd", betas=None, eps=None, momentum=0.0), 0.1)


def test_optimisers_without_betas_can_be_named() -> None:
    groups = parameter_groups(TinyNet(), OptimiserSection())
    section = OptimiserSection(name="sgd", betas=None, eps=None, momentum=0.9)
    assert make_optimiser(groups, section, 0.1).param_groups[0]["momentum"] == 0.9


def test_a_run_of_one_step_has_no_remarks_of_a_library(caplog: pytest.LogCaptureFixture) -> None:
    assert len(rates("shifted", 1, epochs=1)) == 1
    assert rates("shifted", 1, iterations=1) == [1.0]
    assert not caplog.records
