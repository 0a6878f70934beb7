"""Training: recipes, the loop, the run folder, resuming."""

from __future__ import annotations

from sparsevision.training.loop import train_one_epoch
from sparsevision.training.recipe import Recipe, read_recipe, recipe_names
from sparsevision.training.run import Parts, RunSummary, fit, train

__all__ = ["Parts", "Recipe", "RunSummary", "fit", "read_recipe", "recipe_names", "train", "train_one_epoch"]
