"""The recipe of a run for which the user names less than all of it, in words."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import timm

from sparsevision.data.layouts import digits
from sparsevision.errors import ConfigError
from sparsevision.factory import is_known, looks_like_path, model_of, preprocessing_of, task_of
from sparsevision.models.registry import is_registered, variant_named, without_tag
from sparsevision.tasks import task_named, task_of_data
from sparsevision.tasks.registry import DEFAULT_TASK, other_tasks_note
from sparsevision.training.recipe import Recipe, read_recipe
from sparsevision.training.sections import DistillationSection
from sparsevision.types import Preprocessing


def choose_recipe(
    recipe: str | None, *, data: str | None, model: str | None, overrides: Sequence[str] = (), out: str | Path = "",
    resume: bool = False,
) -> tuple[Recipe, list[str]]:  # fmt: skip
    """Returns the recipe to run, and sentences that name it and its starting weights.

    A resumed run without a named recipe takes its own recipe.toml; a new one without takes the default of the task that
    the model (or without one, the data set) is for, with the model's published weights where there are any. `data` and
    `model` replace the recipe's own; another model leaves the recipe's options for its own behind. A `model` with the
    tag of published weights starts from these, and one that is the path of weights, or "hf-hub:USER/NAME", names its
    model and is what the run starts from.
    """
    path = model if model is not None and _is_path(model) else None
    view = None
    if path is not None:
        model, view = model_of(path)
    own = Path(out) / "recipe.toml"
    resumed = recipe is None and resume and own.exists()
    name = recipe or (str(own) if resumed else task_named(_purpose(model, data)).recipe)
    chosen = read_recipe(name)
    backbone = chosen.model.backbone
    if model is not None and without_tag(model) != without_tag(chosen.model.name):
        chosen = chosen.with_values({"model": {"name": model}})
    if model is not None and model != without_tag(model):  # weights are named
        start = {"model.pretrained": True, "model.checkpoint": None, "model.backbone": None}
        chosen = chosen.with_values({"model.name": model, **start})
    if recipe is None and not resumed:
        chosen = chosen.with_values(_fitted(chosen, backbone, view))
    if path is not None:
        chosen = chosen.with_values({"model.checkpoint": path, "model.pretrained": False, "model.backbone": None})
    if data is not None:
        chosen = chosen.with_values({"data.spec": data})
    chosen, notes = _with_overrides(chosen, overrides, None if recipe or resumed else backbone)
    if task_of(chosen.model.name) != chosen.task:
        raise ConfigError(f"{chosen.model.name} is not a model for task = {chosen.task!r}: name a recipe for its task.")
    if chosen.data.spec is None and resume:
        raise ConfigError(f"{str(out)!r} holds no run to go on with: give its folder, or --data to begin a run.")
    if chosen.data.spec is None:
        raise ConfigError("No data set was named: give --data with a folder, shards or 'digits'.")
    if resumed and data is None and _is_gone(chosen.data.spec):
        raise ConfigError(
            f"The run in {str(out)!r} learns from {chosen.data.spec!r}, which is not to be found from here: give "
            "--data with its path."
        )
    said = f"Recipe: {name}. Model: {chosen.model.name}."
    if not resumed:
        said += f" {starting_weights(chosen)}"
    section = chosen.distillation
    if section.teacher is None and section != DistillationSection():
        said += " Teacher: none, though the recipe distils (--set distillation.teacher=NAME)."
    if (
        recipe is None
        and not resumed
        and model is None
        and (note := other_tasks_note(chosen.data.spec, option="--model"))
    ):
        notes = [*notes, note]
    return chosen, [said, *notes]


def _with_overrides(recipe: Recipe, overrides: Sequence[str], backbone: str | None) -> tuple[Recipe, list[str]]:
    """Returns the recipe with overrides, and sentences about other fields that had to follow.

    Starting weights that are named replace those of the recipe, without published ones a default recipe starts from its
    `backbone`, epochs that are named replace a number of iterations, and a run that is shorter has a shorter warm-up.
    """
    named = {override.partition("=")[0].strip() for override in overrides}
    starts = {"model.checkpoint", "model.backbone"} & named
    values: dict[str, Any] = {"model.pretrained": False} if starts else {}
    if "model.pretrained" in named:
        values = {} if starts else {"model.checkpoint": None}
    warmup = recipe.schedule.warmup_epochs
    if "schedule.epochs" in named and "schedule.iterations" not in named:
        values["schedule.iterations"] = None
    follows = "schedule.epochs" in named and not any(name.startswith("schedule.warmup") for name in named)
    if follows:
        values["schedule.warmup_epochs"] = 0.0
    # Images are decoded as much smaller as before where another size is trained at.
    side, size = recipe.data.decode_side, getattr(recipe.transforms, "size", None)
    follows_size = side and size and "transforms.size" in named and "data.decode_side" not in named
    if follows_size:
        values["data.decode_side"] = None
    chosen = recipe.with_values(values).with_overrides(overrides)
    if side and size and follows_size:
        now = getattr(chosen.transforms, "size", size)
        chosen = chosen.with_values({"data.decode_side": math.ceil(side * now / size)})
    if "model.pretrained" in named and not starts:
        own = None if chosen.model.pretrained else chosen.model.backbone or backbone
        chosen = chosen.with_values({"model.backbone": own})
    if not follows:
        return chosen, []
    if warmup < chosen.schedule.epochs:
        return chosen.with_values({"schedule.warmup_epochs": warmup}), []
    fitted = chosen.schedule.epochs / 4
    note = f"The warm-up is {fitted:g} epochs, as {warmup:g} do not fit into {chosen.schedule.epochs}."
    return chosen.with_values({"schedule.warmup_epochs": fitted}), [note]


def _is_gone(spec: str) -> bool:
    """Returns whether a data set is named by the path of a file or folder that does not exist."""
    return not (digits.recognises(spec) or any(sign in spec for sign in ":*?[{") or os.path.exists(spec))


def _is_path(model: str) -> bool:
    """Returns whether a model is named by a file or folder of weights, as `predict` takes it."""
    return not is_known(model) and looks_like_path(model)


def starting_weights(recipe: Recipe) -> str:
    """Returns a sentence about the weights that a run starts from."""
    if recipe.model.checkpoint:
        return f"Starting weights: {recipe.model.checkpoint}."
    if recipe.model.pretrained:
        return "Starting weights: the published ones (--set model.pretrained=false starts without them)."
    if recipe.model.backbone:
        named = "the published ones" if recipe.model.backbone == "pretrained" else recipe.model.backbone
        return f"Starting weights of the backbone: {named}."
    return "Starting weights: none, from scratch."


def _purpose(model: str | None, data: str | None) -> str:
    if model is not None:
        return task_of(model)
    return DEFAULT_TASK if data is None else task_of_data(data)


def _fitted(recipe: Recipe, backbone: str | None, view: Preprocessing | None) -> dict[str, Any]:
    """Returns the fields of the default recipe that follow from the model: its input, and published weights."""
    name = recipe.model.name
    pretrained = _has_weights(name)
    fitted: dict[str, Any] = {"model.pretrained": pretrained, "model.backbone": None if pretrained else backbone}
    own = recipe.task_class.fitted(view or preprocessing_of(name))
    fitted |= {f"transforms.{field}": value for field, value in own.items()}
    side, size = recipe.data.decode_side, getattr(recipe.transforms, "size", None)
    if side is not None and size and own.get("size"):
        fitted["data.decode_side"] = math.ceil(side * own["size"] / size)
    return fitted


def _has_weights(name: str) -> bool:
    if not is_registered(name):
        return bool(timm.is_model_pretrained(name.removeprefix("timm/").split(".", 1)[0]))
    weights = variant_named(name).weights
    if weights is None or "://" in weights.location:
        return weights is not None
    return (resources.files("sparsevision") / "weights" / weights.location).is_file()
