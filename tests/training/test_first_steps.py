"""First steps: a run of few epochs, of few images, or from weights at hand starts, and says what it fitted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sparsevision.checkpoints import save_checkpoint
from sparsevision.cli import main
from sparsevision.errors import ConfigError
from sparsevision.factory import create_model
from sparsevision.training import run
from sparsevision.training.display import Display
from sparsevision.training.recipe import Recipe
from sparsevision.training.recipe_defaults import choose_recipe
from sparsevision.training.run_folder import read_metrics
from sparsevision.types import Preprocessing


@pytest.fixture
def few(tmp_path: Path) -> str:
    for number in range(12):
        path = tmp_path / "few" / ("ant", "bee")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((48, 40), 40 + number).convert("RGB").save(path)
    return str(tmp_path / "few")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    model = create_model("sparseformer_nano", num_classes=2, cortex_depth=1)
    view = Preprocessing((64, 64), fit="stretch")
    return save_checkpoint(
        tmp_path / "own" / "best", model, name="sparseformer_nano", preprocessing=view, labels=("ant", "bee")
    )


def test_a_trial_of_two_epochs_on_twelve_images_works(few: str, tmp_path: Path, capsys) -> None:
    words = ["train", "--data", few, "--out", str(tmp_path / "run"), "--epochs", "2", "--device", "cpu"]
    assert main([*words, "--set", "transforms.size=32", "--set", "data.decode_side=none"]) == 0
    said = capsys.readouterr().err
    assert "The warm-up is 0.5 epochs, as 2 do not fit into 2." in said
    assert "10 images do not fill a step of data.batch=32: a step has 10." in said


@pytest.mark.parametrize("place", ["own", "own/best", "own/best/model.safetensors"])
def test_a_model_that_is_a_path_is_where_the_run_starts(place: str, few: str, weights: Path, tmp_path: Path) -> None:
    path = str(tmp_path / place)
    if place.endswith("safetensors"):
        path = str(save_single(tmp_path))
    recipe, [said, *_] = choose_recipe(None, data=few, model=path)
    assert (recipe.model.name, recipe.model.checkpoint, recipe.model.pretrained) == ("sparseformer_nano", path, False)
    assert f"Starting weights: {path}." in said
    assert recipe.preprocessing.fit == "stretch"


def save_single(folder: Path) -> Path:
    model = create_model("sparseformer_nano", num_classes=2, cortex_depth=1)
    view = Preprocessing((64, 64), fit="stretch")
    target = folder / "one.safetensors"
    return save_checkpoint(target, model, name="sparseformer_nano", preprocessing=view, labels=("ant", "bee"))


def test_weights_that_know_every_class_are_scored_before_they_are_trained(
    few: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    scored, scores = run.evaluate_batches, iter((0.9, 0.5, 0.6))
    monkeypatch.setattr(run, "evaluate_batches", lambda *given: replace(scored(*given), top1=next(scores)))
    words = ["train", "--data", few, "--model", str(weights), "--epochs", "2", "--device", "cpu"]
    status = main([*words, "--set", "ema.decay=0", "--out", str(tmp_path / "run")])
    said = capsys.readouterr()
    assert status == 0, said.err
    assert "The starting weights answer for all classes: they are scored first." in said.err
    assert "starting weights: top-1 " in said.err
    lines = [line for line in read_metrics(tmp_path / "run") if line.get("weights") == "raw"]
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    assert "(the starting weights), in" in said.out
    assert "no epoch was better than the starting weights" in said.out
    kept_there = load_file(tmp_path / "run" / "best" / "model.safetensors")
    for name, tensor in load_file(weights / "model.safetensors").items():
        assert torch.equal(tensor, kept_there[name]), name


def test_weights_that_know_every_class_and_lack_tokens_are_not_said_to_lack_classes(
    few: str, tmp_path: Path, capsys
) -> None:
    model = create_model("sparseformer_nano", num_classes=2, cortex_depth=1)
    view = Preprocessing((64, 64), fit="stretch")
    turned = save_checkpoint(tmp_path / "m", model, name="sparseformer_nano", preprocessing=view, labels=("bee", "ant"))
    more = ["--set", "model.fresh_tokens=true", "--set", "model.config.num_tokens=25", "--epochs", "1"]
    status = main(["train", "--data", few, "--model", str(turned), "--out", str(tmp_path / "run"), *more])
    said = capsys.readouterr().err
    assert status == 0, said
    assert "Of 2 classes 2 are known to the starting weights by name.\n" in said
    assert "scored first" not in said


def test_weights_that_are_named_take_the_place_of_the_published_ones(few: str, weights: Path) -> None:
    named = [f"model.checkpoint={weights}"]
    recipe, _ = choose_recipe(None, data=few, model="sparseformer_nano", overrides=named)
    assert (recipe.model.checkpoint, recipe.model.pretrained) == (str(weights), False)
    with pytest.raises(ConfigError, match="were both given"):
        choose_recipe(None, data=few, model=None, overrides=[*named, "model.pretrained=true"])


def test_a_detector_starts_from_the_weights_at_hand_or_from_its_backbone() -> None:
    published, [said] = choose_recipe(None, data="x", model="sparse_detr_nano")
    assert (published.model.pretrained, published.model.backbone) == (True, None)
    assert "the published ones" in said
    bare, [said] = choose_recipe(None, data="x", model="sparse_detr_nano", overrides=["model.pretrained=false"])
    assert (bare.model.pretrained, bare.model.backbone) == (False, "pretrained")
    assert "Starting weights of the backbone: the published ones." in said


def test_a_warm_up_that_fits_stays(few: str) -> None:
    recipe, notes = choose_recipe(None, data=few, model=None, overrides=["schedule.epochs=10"])
    assert (recipe.schedule.warmup_epochs, len(notes)) == (2, 1)
    with pytest.raises(ConfigError, match="must be less than epochs"):
        choose_recipe(None, data=few, model=None, overrides=["schedule.epochs=2", "schedule.warmup_epochs=3"])


def test_accumulation_of_more_parts_than_images_is_named(few: str, tmp_path: Path, capsys) -> None:
    words = ["train", "--data", few, "--out", str(tmp_path / "run"), "--set", "run.accumulation=16"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "10 images are fewer than the 16 parts of a step (run.accumulation times processes): lower run.acc" in said


def test_one_image_of_each_class_cannot_be_divided(few: str, tmp_path: Path, capsys) -> None:
    for path in Path(few).rglob("*.png"):
        if path.stem not in ("0", "1"):
            path.unlink()
    assert main(["train", "--data", few, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "has one image of each class, so that none can be held out for scoring: give at least one class a" in said
    assert "choose another split" not in said


def test_short_options_are_fields_of_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from sparsevision import training

    started: list[Recipe] = []
    monkeypatch.setattr(training, "train", lambda recipe, **_: started.append(recipe) or Ended())
    words = ["train", "--data", "x", "--out", str(tmp_path / "run"), "--epochs", "7", "--lr", "1e-4"]
    assert main([*words, "--batch-size", "5", "--workers", "0", "--device", "cpu", "--minutes", "30"]) == 0
    made = started[0]
    assert (made.schedule.epochs, made.optimiser.lr, made.data.batch) == (7, 1e-4, 5)
    assert (made.run.workers, made.run.device, made.run.time_budget_minutes) == (0, "cpu", 30)
    # Epochs that are asked for take the place of iterations, and the warm-up stays.
    assert main([*words, "--recipe", "ade20k_sparseformer"]) == 0
    schedule = started[1].schedule
    assert (schedule.epochs, schedule.iterations, schedule.warmup_iterations) == (7, None, 1500)
    assert main([*words, "--set", "schedule.epochs=3"]) == 2
    assert "--epochs and --set schedule.epochs name the same field: give one of the two." in capsys.readouterr().err


class Ended:
    skipped: ClassVar[dict[str, str]] = {}


def test_after_a_few_seconds_a_run_says_how_long_it_will_take(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    now = 0.0
    monkeypatch.setattr("sparsevision.training.display.time.monotonic", lambda: now)
    with Display() as display:
        display.expect(900, 20)
        for epoch in range(4):
            display.epoch(epoch + 1, 450, 2, 0)
            for _ in range(2):
                now += 0.8
                display.step()
            now += 100  # of scoring
    assert capsys.readouterr().err.splitlines() == [
        "900 steps take about 12 minutes, apart from scoring; this start ends after 20 minutes."
    ]


def test_a_tag_of_weights_is_where_a_run_starts(few: str) -> None:
    recipe, [said, *_] = choose_recipe("caltech101_nano", data=few, model="sparseformer_nano.caltech101")
    assert (recipe.model.name, recipe.model.pretrained) == ("sparseformer_nano.caltech101", True)
    assert recipe.model.config == choose_recipe("caltech101_nano", data=few, model=None)[0].model.config
    assert "the published ones" in said
    with pytest.raises(ConfigError, match=r"nearest are 'sparseformer_nano\.caltech101'"):
        choose_recipe(None, data=few, model="sparseformer_nano.caltec")


def test_images_are_decoded_for_the_size_that_is_asked_for(few: str) -> None:
    recipe, _ = choose_recipe(None, data=few, model=None, overrides=["transforms.size=320"])
    assert (recipe.transforms.size, recipe.data.decode_side) == (320, 400)
