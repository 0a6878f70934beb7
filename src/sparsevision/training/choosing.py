"""Which recipe a run takes when the user names less than all of it, said in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import timm

from sparsevision.data.opening_objects import is_for_detection
from sparsevision.errors import ConfigError
from sparsevision.factory import preprocessing_of, task_of
from sparsevision.models.registry import variants
from sparsevision.training.recipe import DistillationSection, Recipe, read_recipe

# What is taken where no recipe is named, by what the model is for.
DEFAULT_RECIPES = {"classification": "folder_nano", "detection": "objects_nano"}


def choose_recipe(
    recipe: str | None,
    *,
    data: str | None,
    model: str | None,
    overrides: Sequence[str] = (),
    out: str | Path = "",
    resume: bool = False,
) -> tuple[Recipe, list[str]]:
    """Returns the recipe to run and sentences that say which it is and what it starts from.

    A resumed run without a named recipe takes its own recipe.toml; a new one without takes the default for what the
    model (or without one, the data set) is for, with the model's published weights where there are any. `data` and
    `model` replace what the recipe says; another model leaves the recipe's options for its own behind.
    """
    own = Path(out) / "recipe.toml"
    resumed = recipe is None and resume and own.exists()
    name = recipe or (str(own) if resumed else DEFAULT_RECIPES[_purpose(model, data)])
    chosen = read_recipe(name)
    if model is not None and model != chosen.model.name:
        chosen = chosen.with_values({"model": {"name": model}})
    if recipe is None and not resumed:
        chosen = chosen.with_values(_fitted(chosen))
    if data is not None:
        chosen = chosen.with_values({"data.spec": data})
    chosen = chosen.with_overrides(overrides)
    if task_of(chosen.model.name) != chosen.task:
        raise ConfigError(f"{chosen.model.name} is no model for task = {chosen.task!r}: name a recipe for its task.")
    if chosen.data.spec is None:
        raise ConfigError("No data set was named: give --data with a folder, shards or 'digits'.")
    said = f"Recipe: {name}. Model: {chosen.model.name}. {starting_weights(chosen)}"
    section = chosen.distillation
    if section.teacher is None and section != DistillationSection():
        said += " Teacher: none, though the recipe distils (--set distillation.teacher=NAME)."
    return chosen, [said]


def starting_weights(recipe: Recipe) -> str:
    """Says in a sentence which weights a run starts from."""
    if recipe.model.checkpoint:
        return f"Starting weights: {recipe.model.checkpoint}."
    if recipe.model.pretrained:
        return "Starting weights: the published ones (--set model.pretrained=false starts from scratch)."
    if recipe.model.backbone:
        return f"Starting weights of the backbone: {recipe.model.backbone}."
    return "Starting weights: none, from scratch."


def _purpose(model: str | None, data: str | None) -> str:
    if model is not None:
        return task_of(model)
    return "detection" if data is not None and is_for_detection(data) else "classification"


def _fitted(recipe: Recipe) -> dict[str, Any]:
    """Returns the fields of the default recipe that follow from the model: its input, and published weights."""
    name = recipe.model.name
    fitted: dict[str, Any] = {"model.pretrained": _has_weights(name)}
    if recipe.task == "detection":
        return fitted | {"model.backbone": None if fitted["model.pretrained"] else "pretrained"}
    view = asdict(preprocessing_of(name))
    if view["size"][0] == view["size"][1]:
        fitted["data.size"] = view["size"][0]
        if recipe.data.decode_side is not None:
            fitted["data.decode_side"] = math.ceil(recipe.data.decode_side * view["size"][0] / recipe.data.size)
    fitted |= {f"data.{field}": view[field] for field in ("mean", "std")}
    fitted |= {f"data.evaluation.{field}": view[field] for field in ("fit", "crop_fraction", "interpolation")}
    return fitted


def _has_weights(name: str) -> bool:
    if name not in variants():
        return bool(timm.is_model_pretrained(name.removeprefix("timm/").split(".", 1)[0]))
    weights = variants()[name].weights
    if weights is None or "://" in weights.location:
        return weights is not None
    return (resources.files("sparsevision") / "weights" / weights.location).is_file()
