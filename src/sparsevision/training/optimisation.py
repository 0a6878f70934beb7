"""Optimisation: parameter groups, the optimiser, and the rate of each step."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from timm.models import group_parameters
from timm.optim._optim_factory import create_optimizer_v2, list_optimizers
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.scheduler.multistep_lr import MultiStepLRScheduler
from timm.scheduler.poly_lr import PolyLRScheduler
from timm.scheduler.step_lr import StepLRScheduler
from torch import nn

from sparsevision.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from sparsevision.training.sections import OptimiserSection, ScheduleSection


def parameter_groups(model: nn.Module, section: OptimiserSection) -> list[dict[str, Any]]:
    """Sorts a model's trainable parameters into groups with `params`, `names`, `weight_decay` and `lr_scale`.

    Our models say themselves what decays; of others everything does but biases, one-dimensional parameters and what
    timm's `no_weight_decay` names; with the recipe's `decay_norms` all of it does. With layer decay, a layer k below
    the head learns at layer_decay^k of the rate.
    """
    rules = _own_rules(model) if hasattr(model, "parameter_groups") else _timm_rules(model)
    depth_scale = _layer_scales(model, section.layer_decay)
    head = {id(parameter) for parameter in _head_parameters(model)}
    groups: dict[tuple[bool, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decay, scale = rules[name]
        decay |= section.decay_norms
        scale *= depth_scale.get(name, 1.0) * (section.head_lr_factor if id(parameter) in head else 1.0)
        group = groups.setdefault(
            (decay, scale),
            {"params": [], "names": [], "weight_decay": section.weight_decay if decay else 0.0, "lr_scale": scale},
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def _own_rules(model: Any) -> dict[str, tuple[bool, float]]:
    return {name: (group.decay, group.lr_scale) for group in model.parameter_groups() for name, _ in group.parameters}


def _timm_rules(model: Any) -> dict[str, tuple[bool, float]]:
    spared = set(model.no_weight_decay()) if hasattr(model, "no_weight_decay") else set()
    return {
        name: (parameter.ndim > 1 and not name.endswith(".bias") and name not in spared, 1.0)
        for name, parameter in model.named_parameters()
    }


def _layer_scales(model: Any, layer_decay: float | None) -> dict[str, float]:
    if layer_decay is None:
        return {}
    if not hasattr(model, "group_matcher"):
        raise ConfigError(
            f"optimiser.layer_decay needs a model that names its layers; {type(model).__name__} does not: leave it out."
        )
    layers = group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    top = max(layers.values())
    return {name: layer_decay ** (top - layer) for name, layer in layers.items()}


def _head_parameters(model: Any) -> Iterable[nn.Parameter]:
    head = model.get_classifier() if hasattr(model, "get_classifier") else None
    return head.parameters() if isinstance(head, nn.Module) else ()


def make_optimiser(groups: list[dict[str, Any]], section: OptimiserSection, lr: float) -> Optimizer:
    """Makes timm's optimiser of the recipe's name over groups from `parameter_groups`."""
    known = [str(name) for name in list_optimizers()]
    if section.name not in known:
        raise UnknownNameError("optimiser", section.name, known)
    options = {"betas": section.betas, "eps": section.eps, "momentum": section.momentum}
    given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    plain = [{key: value for key, value in group.items() if key != "names"} for group in groups]
    try:
        return create_optimizer_v2(plain, opt=section.name, lr=lr, weight_decay=section.weight_decay, **given)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"The optimiser {section.name!r} refused its options {sorted(given)}: {error}. "
            "Set what it does not know to none, as in optimiser.betas=none."
        ) from None


@contextmanager
def _without_remarks(kind: type) -> Iterator[None]:
    """Silences timm's log about a class: of a schedule of one step it remarks that the rate stays as it is."""
    log = logging.getLogger(kind.__module__)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


class Schedule:
    """Sets the rate of every group before each step; stateless, so that resuming needs only the step's number."""

    def __init__(self, optimiser: Optimizer, section: ScheduleSection, peak: float, steps_per_epoch: int) -> None:
        self.lag = 1 if section.form == "released" else 0
        total, warmup = section.steps(steps_per_epoch), section.warmup_steps(steps_per_epoch)
        counted = section.iterations is not None or section.warmup_iterations is not None
        if counted and warmup >= total:
            raise ConfigError(
                f"The warm-up of {warmup} steps is as long as the run of {total} steps or longer: lower "
                f"schedule.warmup_iterations or schedule.warmup_epochs."
            )
        for group in optimiser.param_groups:
            group["initial_lr"] = peak  # timm multiplies by the group's lr_scale itself
        start: dict[str, Any] = {
            "warmup_t": warmup, "warmup_lr_init": peak * section.warmup_start, "t_in_epochs": False,
            "warmup_prefix": section.form == "shifted",
        }  # fmt: skip
        self.scheduler: Any
        if section.form == "steps":
            # timm drops one step before the one that it is told.
            drops = [epoch * steps_per_epoch + 1 for epoch in section.drop_after]
            self.scheduler = MultiStepLRScheduler(optimiser, decay_t=drops, decay_rate=section.drop, **start)
        elif section.form == "exponential":
            self.scheduler = StepLRScheduler(
                optimiser, decay_t=steps_per_epoch, decay_rate=section.drop, **{**start, "warmup_prefix": True}
            )
        elif section.form == "polynomial":
            self.scheduler = PolyLRScheduler(
                optimiser, t_initial=max(total - warmup, 1), power=section.power, lr_min=peak * section.floor,
                **{**start, "warmup_prefix": True},
            )  # fmt: skip
        else:
            length = total if section.form == "released" else max(total - warmup, 1)
            with _without_remarks(CosineLRScheduler):
                self.scheduler = CosineLRScheduler(optimiser, t_initial=length, lr_min=peak * section.floor, **start)

    def set(self, step: int) -> float:
        """Sets the rates for a step, counted from 0 over the whole run; returns the rate of a group of scale 1."""
        clock = max(step - self.lag, 0)
        self.scheduler.step_update(clock)
        return float(self.scheduler._get_lr(clock)[0])
