"""Every recipe that the package brings parses, builds its model and says its own command; nano's run two steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sparsevision import create_model
from sparsevision.training import train
from sparsevision.training.recipe import read_recipe, recipe_names

RECIPES = recipe_names()
OF_NANO = [name for name in RECIPES if read_recipe(name).model.name == "sparseformer_nano"]


def test_there_are_recipes() -> None:
    assert OF_NANO


@pytest.mark.parametrize("name", RECIPES)
def test_it_parses_builds_and_survives_being_written(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(name)
    with torch.device("meta"):
        create_model(recipe.model.name, **recipe.model.config)
    (tmp_path / "again.toml").write_text(recipe.to_toml())
    assert read_recipe(tmp_path / "again.toml") == recipe


@pytest.mark.parametrize("name", RECIPES)
def test_its_head_says_the_command(name: str, package: Path) -> None:
    text = (package / "recipes" / f"{name}.toml").read_text()
    head = text[: text.index("\n[")]
    assert all(line.startswith(("#", "task =")) or not line.strip() for line in head.splitlines())
    assert f"--recipe {name}" in head


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_NANO)
def test_nano_runs_two_steps(name: str, photographs: Path, tmp_path: Path) -> None:
    recipe = read_recipe(name).with_values(
        {
            "data.spec": str(photographs / "my_images"),
            "data.batch": 6,
            "transforms.size": 32,
            "data.repeats": 1,
            "model.checkpoint": None,
            "distillation.teacher": None,
            "schedule.epochs": 1,
            "schedule.warmup_epochs": 0,
            "run.accumulation": 1,
            "run.workers": 0,
            "run.log_every": 1,
        }
    )
    train(recipe, data=str(photographs / "my_images"), out=tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if line["kind"] == "train"]
    assert steps == [1, 2]
