"""What a recipe refuses, and in which words; what survives being written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from coco_folder import draw_coco_folder
from sparsevision.errors import ConfigError
from sparsevision.training.recipe import Recipe, read_recipe, recipe_names
from sparsevision.training.recipe_defaults import choose_recipe


def test_overrides_are_read_as_toml() -> None:
    recipe = read_recipe(
        "digits_nano",
        ["optimiser.lr=3e-4", "model.config.num_tokens=9", "optimiser.clip=none", "model.checkpoint=a/b.pt"],
    )
    assert recipe.optimiser.lr == 3e-4
    assert recipe.model.config["num_tokens"] == 9
    assert recipe.optimiser.clip is None
    assert recipe.model.checkpoint == "a/b.pt"


def fields_of(table: dict[str, Any], prefix: str = "") -> set[str]:
    found = set()
    for name, value in table.items():
        found |= {prefix + name} | (fields_of(value, f"{prefix}{name}.") if isinstance(value, dict) else set())
    return found


@pytest.mark.parametrize(
    ("recipe", "given", "named", "near"),
    [
        ("objects_nano", "loss.class_weights=balanced", "loss.class_weights", "loss.classes"),
        ("objects_nano", "loss.label_smoothing=0.1", "loss.label_smoothing", "loss.classes"),
        ("objects_nano", "transforms.mixup=0.2", "transforms.mixup", "transforms.flip"),
        ("objects_nano", "data.mixup=0.2", "data.mixup", "data.shuffle"),
        ("objects_nano", "transforms.rand_augment=rand-m9", "transforms.rand_augment", "transforms.longest"),
        ("objects_nano", "data.train.rand_augment=rand-m9", "data.train", "data.batch"),
        ("objects_nano", "transforms.crop_scale=[0.5,1]", "transforms.crop_scale", "transforms.crop_sides"),
        ("objects_nano", "transforms.evaluation.crop_fraction=1", "crop_fraction", "transforms.evaluation.fit"),
        ("folder_nano", "transforms.short_sides=[64]", "transforms.short_sides", "transforms.size"),
        ("folder_nano", "transforms.evaluation.longest=64", "longest", "transforms.evaluation.size"),
        ("folder_nano", "loss.giou=1", "loss.giou", "loss"),
        ("folder_nano", "distillation.tau=1", "distillation.tau", "distillation.temperature"),
    ],
)
def test_an_option_that_a_task_does_not_have_is_refused_with_the_nearest(
    recipe: str, given: str, named: str, near: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_recipe(recipe, [given])
    said = str(caught.value)
    assert said.endswith(".")
    assert "\n" not in said
    assert said.count(". ") == 0, "one sentence"
    received, offered = said.split("; the nearest are ")
    assert f"{named}'" in received
    assert f"'{read_recipe(recipe).task}'" in received
    nearest = re.findall(r"'([\w.]+)'", offered)
    assert near in nearest
    assert set(nearest) <= fields_of(read_recipe(recipe).model_dump())


def test_a_value_out_of_its_range_is_refused_in_one_sentence() -> None:
    for recipe, given in (("objects_nano", "transforms.flip=2"), ("folder_nano", "loss.label_smoothing=1")):
        field, value = given.split("=")
        with pytest.raises(ConfigError, match=rf"{field} does not fit: .* \(given: {value}\)\.$"):
            read_recipe(recipe, [given])


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_whole_and_reads_back(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(name)
    assert isinstance(recipe.settings, recipe.task_class.Settings)
    recipe.task_class.check_preprocessing(recipe.preprocessing)
    (tmp_path / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
    assert read_recipe(tmp_path / "recipe.toml") == recipe


def test_what_is_written_reads_as_the_same(tmp_path: Path) -> None:
    recipe = Recipe().with_values(
        {
            "optimiser.clip": None,
            "optimiser.betas": None,
            "model.config": {"num_tokens": 9, "image_feature": "rgb", "decoding options": [1, 2.5, True]},
            "data.spec": 'C:\\images of "Zoë" 😀\n',
            "loss.class_weights": (1.0, 2.0),
        }
    )
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    assert read_recipe(path) == recipe


def test_train_needs_only_data_and_model_and_says_what_it_took() -> None:
    recipe, notes = choose_recipe(None, data="images", model="sparseformer_tiny")
    assert (recipe.data.spec, recipe.model.name, recipe.transforms.size) == ("images", "sparseformer_tiny", 224)
    assert recipe.model.pretrained
    assert "folder_nano" in notes[0]
    assert "published" in notes[0]
    recipe, notes = choose_recipe(None, data="images", model=None, overrides=["model.pretrained=false"])
    assert recipe.model.name == "sparseformer_nano"
    assert "from scratch" in notes[0]
    [note] = choose_recipe("caltech101_vt_resnet18", data="x", model=None)[1]
    assert note.endswith("Teacher: none, though the recipe distils (--set distillation.teacher=NAME).")
    grey, _ = choose_recipe(None, data="x", model="timm/vit_base_patch16_224.augreg_in21k")
    assert grey.transforms.mean == grey.preprocessing.mean == (0.5,) * 3
    with pytest.raises(ConfigError, match="--data"):
        choose_recipe(None, data=None, model=None)


def test_a_detector_or_a_folder_with_boxes_takes_the_recipe_for_objects(tmp_path: Path) -> None:
    folder = draw_coco_folder(tmp_path / "shapes")
    for model in ("sparse_detr_nano", None):
        recipe, notes = choose_recipe(None, data=str(folder), model=model)
        assert (recipe.task, recipe.model.name) == ("detection", "sparse_detr_nano")
        assert "objects_nano" in notes[0]
    recipe, _ = choose_recipe(None, data=str(folder), model="deformable_detr_nano")
    assert (recipe.model.name, recipe.model.backbone) == ("deformable_detr_nano", "pretrained")


def test_a_named_recipe_is_taken_as_it_stands(tmp_path: Path) -> None:
    named, _ = choose_recipe("digits_nano", data=None, model=None)
    assert named == read_recipe("digits_nano")
    peer, _ = choose_recipe("caltech101_nano", data="x", model="timm/resnet18")
    assert (peer.model.name, peer.model.config, peer.model.pretrained) == ("timm/resnet18", {}, False)
    (tmp_path / "recipe.toml").write_text(named.to_toml())
    assert choose_recipe(None, data=None, model=None, out=tmp_path, resume=True)[0] == named


def test_an_option_that_stands_in_another_table_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'data.mixup'.*By the same word there is transforms.mixup\."):
        read_recipe("folder_nano", ["data.mixup=0.2"])
