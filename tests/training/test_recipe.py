"""What a recipe refuses, and in which words; what survives being written."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsevision.errors import ConfigError, SparseVisionError
from sparsevision.training.choosing import choose_recipe
from sparsevision.training.recipe import Recipe, read_recipe


def test_overrides_are_read_as_toml() -> None:
    recipe = read_recipe(
        "digits_nano",
        ["optimiser.lr=3e-4", "model.config.num_tokens=9", "optimiser.clip=none", "model.checkpoint=a/b.pt"],
    )
    assert recipe.optimiser.lr == 3e-4
    assert recipe.model.config["num_tokens"] == 9
    assert recipe.optimiser.clip is None
    assert recipe.model.checkpoint == "a/b.pt"


def test_what_is_written_reads_as_the_same(tmp_path: Path) -> None:
    recipe = Recipe().with_values(
        {
            "optimiser.clip": None,
            "optimiser.betas": None,
            "model.config": {"num_tokens": 9, "image_feature": "rgb", "decoding options": [1, 2.5, True]},
            "data.spec": 'C:\\pictures of "Zoë" 😀\n',
            "loss.class_weights": (1.0, 2.0),
        }
    )
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    assert read_recipe(path) == recipe


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[optimizer]\nlr = 1.0", "'optimiser'"),
        ("[optimiser]\nlearning_rate = 1.0", "no field of the recipe"),
        ("[optimiser]\nlr = -1.0", "optimiser.lr"),
        ("[optimiser]\nlr = 'fast'", "'fast'"),
        ("[optimiser]\nlr = nan", "optimiser.lr"),
        ("[schedule]\nepochs = 3\nwarmup_epochs = 3", "must be less than epochs"),
        ("[schedule]\nepochs = 0", "schedule.epochs"),
        ("[data]\nbatch = 10\n[run]\naccumulation = 3", "must be a multiple of run.accumulation"),
        ("[model]\npretrained = true\ncheckpoint = 'x'", "choose one"),
        ("[loss]\nlabel_smoothing = 1.0", "loss.label_smoothing"),
        ("[run]\nprecision = 'int8'", "run.precision"),
        ("optimiser = 3", "optimiser"),
        ("[optimiser\nlr = 1", "no valid TOML"),
    ],
)
def test_mistakes_are_one_sentence(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_recipe(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for name, words in (
        ("digits_nani", "'digits_nano'"),
        (str(tmp_path / "absent.toml"), "cannot be read"),
        (str(tmp_path / "binary.toml"), "no text"),
        (str(tmp_path), "cannot be read"),
    ):
        with pytest.raises(SparseVisionError, match=words):
            read_recipe(name)


@pytest.mark.parametrize("override", ["optimiser.lr", "=3", "optimiser.lr.x=3", "optimiser=3", "run.sed=1"])
def test_overrides_that_are_none(override: str) -> None:
    with pytest.raises(ConfigError):
        read_recipe("digits_nano", [override])


def test_train_needs_only_data_and_model_and_says_what_it_took() -> None:
    recipe, notes = choose_recipe(None, data="pictures", model="sparseformer_tiny")
    assert (recipe.data.spec, recipe.model.name, recipe.data.size) == ("pictures", "sparseformer_tiny", 224)
    assert recipe.model.pretrained
    assert "folder_nano" in notes[0]
    assert "published" in notes[0]
    recipe, notes = choose_recipe(None, data="pictures", model=None, overrides=["model.pretrained=false"])
    assert recipe.model.name == "sparseformer_nano"
    assert "from scratch" in notes[0]
    assert choose_recipe(None, data="x", model="timm/vit_base_patch16_224.augreg_in21k")[0].data.mean == (0.5,) * 3
    with pytest.raises(ConfigError, match="--data"):
        choose_recipe(None, data=None, model=None)


def test_a_named_recipe_is_taken_as_it_stands(tmp_path: Path) -> None:
    named, _ = choose_recipe("digits_nano", data=None, model=None)
    assert named == read_recipe("digits_nano")
    peer, _ = choose_recipe("caltech101_nano", data="x", model="timm/resnet18")
    assert (peer.model.name, peer.model.config, peer.model.pretrained) == ("timm/resnet18", {}, False)
    (tmp_path / "recipe.toml").write_text(named.to_toml())
    assert choose_recipe(None, data=None, model=None, out=tmp_path, resume=True)[0] == named
