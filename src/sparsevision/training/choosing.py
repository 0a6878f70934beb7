"""Which recipe a run takes when the user names less than all of it, said in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparsevision.errors import ConfigError
from sparsevision.training.recipe import Recipe, read_recipe

DEFAULT_RECIPE = "folder_nano"


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

    A resumed run without a named recipe takes its own recipe.toml; a new one without takes the default for small
    folders. `data` and `model` replace what the recipe says; with another model its options are left behind.
    """
    own = Path(out) / "recipe.toml"
    name = recipe or (str(own) if resume and own.exists() else DEFAULT_RECIPE)
    chosen = read_recipe(name)
    if model is not None and model != chosen.model.name:
        chosen = chosen.with_values({"model": {"name": model}})
    if data is not None:
        chosen = chosen.with_values({"data.spec": data})
    chosen = chosen.with_overrides(overrides)
    if chosen.data.spec is None:
        raise ConfigError("No data set was named: give --data with a folder, shards or 'digits'.")
    return chosen, [f"Recipe: {name}. Model: {chosen.model.name}. {starting_weights(chosen)}"]


def starting_weights(recipe: Recipe) -> str:
    """Says in a sentence which weights a run starts from."""
    if recipe.model.checkpoint:
        return f"Starting weights: {recipe.model.checkpoint}."
    if recipe.model.pretrained:
        return "Starting weights: the released ones."
    return "Starting weights: none, from scratch."
