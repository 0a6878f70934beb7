from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from sparsevision import Predictor
from sparsevision.checkpoints import save_checkpoint
from sparsevision.cli import main
from sparsevision.cli.demo import SCENES, found_scenes
from sparsevision.errors import ConfigError
from sparsevision.evaluation.faithfulness import measure_faithfulness
from sparsevision.explain.overview import Card, save_overview
from sparsevision.factory import create_model, preprocessing_of
from sparsevision.tasks import open_dataset
from sparsevision.training import read_recipe

CLASSES = ("ball", "box")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    model = create_model("sparseformer_nano", num_classes=2)
    folder = tmp_path_factory.mktemp("model") / "nano"
    preprocessing = preprocessing_of("sparseformer_nano")
    return save_checkpoint(folder, model, name="sparseformer_nano", preprocessing=preprocessing, labels=CLASSES)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for split in ("train", "val"):
        for index, name in enumerate(CLASSES):
            path = folder / split / name / "0.png"
            path.parent.mkdir(parents=True)
            Image.new("RGB", (64, 48), (90 * index, 90, 120)).save(path)
    return folder


def test_explain_draws_what_is_asked_for_and_names_it(checkpoint, data, tmp_path, capsys):
    status = main(
        [
            "explain",
            str(data / "val"),
            "--model",
            str(checkpoint),
            "--out",
            str(tmp_path),
            "--figure",
            "all",
            "--gif",
            "--page",
            "--top-tokens",
            "2",
        ]
    )
    assert status == 0
    names = {path.name for path in tmp_path.glob("[!.]*")}
    ends = ("-stages.png", "-tokens.png", "-disturbed.png", "-annotated.png", ".gif")
    assert names == {f"{stem}{end}" for stem in ("0", "0-2") for end in ends} | {"page.html"}
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.endswith(tuple(names)) for line in lines) == len(names)


def test_explain_leaves_out_what_it_cannot_read(checkpoint, data, tmp_path, capsys):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    image = data / "val" / "ball" / "0.png"
    arguments = ["explain", "--model", str(checkpoint), "--out", str(tmp_path / "out")]
    assert main([*arguments, str(broken), str(image)]) == 0
    assert "broken.jpg" in capsys.readouterr().err
    assert main([*arguments, str(broken)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.slow
def test_faithfulness_measures_the_models_maps_and_a_peers(checkpoint, data, tmp_path, capsys):
    peer = create_model("timm/resnet10t", num_classes=2)
    preprocessing = preprocessing_of("timm/resnet10t")
    other = save_checkpoint(tmp_path / "peer", peer, name="timm/resnet10t", preprocessing=preprocessing, labels=CLASSES)
    out = tmp_path / "out"
    given = ["--faithfulness", "--data", str(data), "--peer", str(other), "--model", str(checkpoint), "--out", str(out)]
    assert main(["explain", *given]) == 0
    rows = json.loads((out / "faithfulness.json").read_text())["rows"]
    named = [row["map"] for row in rows]
    assert named == ["random", "centre", "density, all stages", "density, last stage", "Grad-CAM of peer"]
    assert all(row["images"] == 2 and 0 <= row["deletion"] <= 1 for row in rows)
    assert (out / "faithfulness.png").stat().st_size > 1000
    printed = [line for line in capsys.readouterr().out.splitlines() if "Grad-CAM of peer" in line]
    assert [line.count("]") for line in printed] == [3], "a row's numbers are not on one line"


def test_faithfulness_divides_a_folder_as_the_run_did(checkpoint, tmp_path, monkeypatch):
    weights = tmp_path / "run" / "best"
    shutil.copytree(checkpoint, weights)
    recipe = read_recipe("folder_nano").with_values({"data.split_seed": 7})
    (tmp_path / "run" / "recipe.toml").write_text(recipe.to_toml())
    images = tmp_path / "images"
    for index in range(20):
        path = images / CLASSES[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (10 * index, 60, 90)).save(path)
    parts = [open_dataset(images, split, seed=7).fingerprint for split in ("train", "val")]
    (tmp_path / "run" / "data.json").write_text(json.dumps({"fingerprint": "-".join(parts)}))
    measured = []

    def note(scores, batches, *_, **__):
        measured.extend(name for batch in batches for name in batch.names)
        return [{"map": "random", "images": len(measured)}]

    monkeypatch.setattr("sparsevision.evaluation.faithfulness.faithfulness", note)
    measure_faithfulness(weights, str(images))
    found = sorted(str(Path(name).relative_to(images)) for name in measured)
    assert found == sorted(open_dataset(images, "val", seed=7).names)
    assert found != sorted(open_dataset(images, "val").names)


def test_the_demo_says_what_it_saw_and_what_it_knows(checkpoint, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sparsevision.cli.demo._MODEL", str(checkpoint))
    assert main(["demo", str(data / "val" / "box"), "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "2 classes" in said
    assert "ball, box" in said
    assert (tmp_path / "page.html").is_file()
    assert (tmp_path / "0.gif").is_file()


def test_the_demo_shows_every_shipped_model_and_a_failure(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "shown")]) == 0
    said = capsys.readouterr().out
    page = (tmp_path / "shown" / "index.html").read_text(encoding="utf-8")
    assert [scene for scene, _ in found_scenes()] == list(SCENES)
    for scene in SCENES:
        assert scene.shows in said
        assert (tmp_path / "shown" / scene.name / "page.html").is_file()
        assert f'href="{scene.name}/page.html"' in page
        assert scene.model in page
    assert "a pagoda, which it gets wrong" in said
    assert "a motorbike, which it gets wrong" not in said
    assert (tmp_path / "shown" / "blood-cells" / "blood-cells.gif").is_file()
    assert main(["demo", "--out", str(tmp_path / "shown")]) == 0


def test_the_demo_names_what_it_cannot_show_and_keeps_others_files(tmp_path, capsys, monkeypatch):
    scenes = [scene for scene in SCENES if scene.name == "nuclei"]
    missing = replace(scenes[0], name="x", package="no_such_package", shows="a whale")
    without = replace(scenes[0], name="y", needs="no_such_package", shows="a shark")
    monkeypatch.setattr("sparsevision.cli.demo.SCENES", (*scenes, missing, without))
    assert main(["demo", "--out", str(tmp_path)]) == 0
    assert "Left out: a whale; a shark." in capsys.readouterr().out
    (tmp_path / "nuclei" / "page.html").write_text("mine")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "page.html' exists already" in capsys.readouterr().err
    other = tmp_path / "mine"
    other.mkdir()
    (other / "index.html").write_text("mine")
    assert main(["demo", "--out", str(other)]) == 2
    assert (other / "index.html").read_text() == "mine"
    assert [path.name for path in other.iterdir()] == ["index.html"]


def test_pages_name_model_and_run_and_no_private_folder(checkpoint, tmp_path, monkeypatch):
    (tmp_path / "anna" / "mine").mkdir(parents=True)
    shutil.copytree(checkpoint, tmp_path / "anna" / "mine" / "best")
    monkeypatch.chdir(tmp_path / "anna")
    assert Predictor("sparseformer_nano", "cpu").title.startswith("sparseformer_nano")
    for given in ("mine", "mine/best", "mine/best/model.safetensors", tmp_path / "anna" / "mine" / "best"):
        assert Predictor(given, "cpu").title == "sparseformer_nano (mine)"
    monkeypatch.chdir(tmp_path / "anna" / "mine" / "best")
    assert Predictor("model.safetensors", "cpu").title == "sparseformer_nano"
    assert Predictor("../best", "cpu").title == "sparseformer_nano"
    shutil.copytree(checkpoint, tmp_path / "run")
    Image.new("RGB", (40, 30)).save(tmp_path / "grey.png")
    command = ["explain", str(tmp_path / "grey.png"), "--model", str(tmp_path / "run"), "--page", "--figure", "none"]
    assert main([*command, "--out", str(tmp_path / "shown")]) == 0
    assert '"model":"sparseformer_nano (run)"' in (tmp_path / "shown" / "page.html").read_text(encoding="utf-8")


def test_an_overview_shows_names_as_text_and_needs_a_card(tmp_path):
    hostile = "<script>alert(1)</script>\"'"
    card = Card(image=Image.new("RGB", (8, 8)), title=hostile, model=hostile, result=hostile, page="a b/<i>.html")
    text = save_overview([card], tmp_path / "index.html", title=hostile).read_text(encoding="utf-8")
    assert "<script" not in text
    assert 'href="a%20b/%3Ci%3E.html"' in text
    assert "alert(1)" in text
    with pytest.raises(ConfigError, match="at least one card"):
        save_overview([], tmp_path / "none.html", title="")
