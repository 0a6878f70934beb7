"""`predict` and `models` on the command line: results on stdout, all else on stderr, sound statuses."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparsevision import cli
from sparsevision.checkpoints import save_checkpoint
from sparsevision.factory import create_model
from sparsevision.types import Preprocessing

SMALL = {"num_tokens": 4, "num_points": 4, "feature_channels": 8, "focusing_width": 64, "cortex_width": 64}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    model = create_model("sparseformer_nano", num_classes=3, cortex_depth=1, **SMALL)
    options = {"preprocessing": Preprocessing(size=(32, 32)), "labels": ("ant", "bee", "[red]cat")}
    return str(save_checkpoint(tmp_path_factory.mktemp("w") / "x", model, name="sparseformer_nano", **options))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    for number, name in enumerate(["b.png", "a.jpg", "deep/c.png", "[x].png"]):
        Image.new("RGB", (40, 36), (60 * number, 90, 120)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


def _lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_folder_gives_a_json_line_for_every_image_in_it(checkpoint: str, images: Path, capsys) -> None:
    assert cli.main(["predict", str(images), "--model", checkpoint, "--json", "--top-k", "2"]) == 0
    printed = capsys.readouterr()
    found = _lines(printed.out)
    assert [Path(line["name"]).name for line in found] == ["[x].png", "a.jpg", "b.png", "c.png"]
    assert all(len(line["classes"]) == 2 and 0 <= line["classes"][0]["score"] <= 1 for line in found)
    assert printed.err == ""


def test_the_model_that_answers_is_told_where_none_was_named(checkpoint: str, images: Path, capsys) -> None:
    told = "Model: sparseformer_nano.caltech101, as no --model was given.\n"
    for words, expected in (([], told), (["--json"], ""), (["--model", checkpoint], "")):
        assert cli.main(["predict", str(images / "a.jpg"), *words]) == 0
        assert capsys.readouterr().err == expected


def test_files_patterns_and_a_list_go_together(
    checkpoint: str, images: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = io.TextIOWrapper(io.BytesIO(f"{images / 'deep' / 'c.png'}\n\n{images / 'b.png'}\r\n".encode()))
    monkeypatch.setattr(sys, "stdin", listed)
    sources = [str(images / "a.jpg"), str(images / "[x].png"), str(images / "**" / "*.png"), "-"]
    assert cli.main(["predict", *sources, "--model", checkpoint, "--json"]) == 0
    names = [Path(line["name"]).name for line in _lines(capsys.readouterr().out)]
    assert names == ["a.jpg", "[x].png", "[x].png", "b.png", "c.png", "c.png", "b.png"]


def test_the_table_shows_names_as_they_are(checkpoint: str, images: Path, capsys) -> None:
    assert cli.main(["predict", str(images), "--model", checkpoint]) == 0
    printed = capsys.readouterr().out
    assert str(images / "[x].png") in printed
    assert "[red]cat" in printed


def test_images_are_drawn_with_the_classes_that_they_show(
    checkpoint: str, images: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "drawn"
    assert cli.main(["predict", str(images / "a.jpg"), "--model", checkpoint, "--draw", str(out), "--json"]) == 0
    assert len(_lines(capsys.readouterr().out)) == 1
    with Image.open(out / "a.jpg") as drawn:
        assert drawn.size == (533, 480)
        pixels = np.asarray(drawn)
    assert pixels[:120, :260].std(axis=(0, 1)).min() > 20  # the classes, in the upper left corner
    assert pixels[240:, 270:].std(axis=(0, 1)).max() < 2


def test_a_misspelt_flag_that_took_the_image_is_named(checkpoint: str, images: Path, capsys) -> None:
    assert cli.main(["predict", "--jsno", str(images / "a.jpg"), "--model", checkpoint]) == 2
    assert "is the value of --jsno" in capsys.readouterr().err
    assert cli.main(["predict", str(images / "b.png"), "--jsno", str(images / "a.jpg"), "--model", checkpoint]) == 2
    assert "command: '--jsno'; the nearest are '--json'" in capsys.readouterr().err


def test_what_was_skipped_is_named_at_the_end(checkpoint: str, images: Path, capsys) -> None:
    sources = [str(images / "a.jpg"), str(images / "notes.txt"), str(images / "*.bmp"), str(images / "nix.png")]
    assert cli.main(["predict", *sources, "--model", checkpoint, "--json"]) == 0
    printed = capsys.readouterr()
    assert len(_lines(printed.out)) == 1
    assert printed.err.startswith("3 of 4 could not be used:")
    assert all(name in printed.err for name in ("notes.txt", "*.bmp", "nix.png"))


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_features_are_written_beside_their_names(suffix: str, checkpoint: str, images: Path, capsys) -> None:
    target = images.parent / f"f{suffix}"
    assert (
        cli.main(["predict", str(images), "--model", checkpoint, "--features", str(target), "--batch-size", "3"]) == 0
    )
    if suffix == ".npz":
        content = np.load(target)
        names, features = list(content["names"]), content["features"]
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        table = parquet.read_table(target).to_pydict()
        names, features = table["name"], np.array(table["features"], dtype=np.float32)
    assert [Path(name).name for name in names] == ["[x].png", "a.jpg", "b.png", "c.png"]
    assert features.shape == (4, 64)
    assert features.dtype == np.float32
    assert sorted(path.name for path in images.parent.iterdir()) == [f"f{suffix}", "images"]


def test_many_rows_of_features_reach_the_parquet_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    from sparsevision.inference import feature_file
    from sparsevision.tasks.labels.result import ClassificationResult

    monkeypatch.setattr(feature_file, "_ROWS_AT_ONCE", 4)
    with feature_file.FeatureFile(tmp_path / "f.parquet") as file:
        for number in range(10):
            features = torch.full((2,), float(number))
            file.add(ClassificationResult(name=str(number), labels=(), scores=(), features=features))
    table = parquet.read_table(tmp_path / "f.parquet").to_pydict()
    assert table == {"name": [str(n) for n in range(10)], "features": [[float(n)] * 2 for n in range(10)]}


def test_models_are_listed_as_a_table_or_json(capsys) -> None:
    assert cli.main(["models"]) == 0
    table = capsys.readouterr().out
    assert "sparseformer_tiny" in table
    assert "31,522,212" in table
    assert cli.main(["models", "*_small", "--json"]) == 0
    boxes, line, clips = _lines(capsys.readouterr().out)
    assert (boxes["name"], boxes["task"]) == ("sparseformer_detector_small", "detection")
    assert (clips["name"], clips["task"]) == ("video_sparseformer_small", "video_classification")
    assert (line["name"], line["parameters"], line["reported"]) == ("sparseformer_small", 47_575_056, 82.0)
