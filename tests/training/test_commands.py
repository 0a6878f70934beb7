"""The commands train and evaluate on a folder of images, as a user types them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from sparsevision.cli import main

SMALL = (
    "model.pretrained=false", "model.config.cortex_depth=1", "transforms.size=32", "data.batch=6", "schedule.epochs=1",
    "schedule.warmup_epochs=0", "run.workers=0",
)  # fmt: skip


@pytest.mark.slow
def test_train_then_evaluate(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = str(shutil.copytree(photographs / "my_images", tmp_path / "my_images")), tmp_path / "run"
    settings = [word for override in SMALL for word in ("--set", override)]
    assert main(["train", "--data", data, "--model", "sparseformer_nano", "--out", str(out), *settings]) == 0
    said = capsys.readouterr()
    assert "folder_nano" in said.err
    assert str(out / "best") in said.out
    assert main(["train", "--data", data, "--out", str(out)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train", "--out", str(out), "--resume"]) == 0
    assert main(["train", "--out", str(tmp_path / "nothing"), "--resume"]) == 2
    assert "holds no run to go on with" in capsys.readouterr().err
    (tmp_path / "my_images").rename(tmp_path / "moved")
    assert main(["train", "--out", str(out), "--resume"]) == 2
    assert "is not to be found from here: give --data with its path" in capsys.readouterr().err
    (tmp_path / "moved").rename(tmp_path / "my_images")

    (tmp_path / "part" / "round").mkdir(parents=True)
    for number, source in enumerate(sorted((photographs / "my_images" / "val" / "round").iterdir())):
        (tmp_path / "part" / "round" / f"{number}.jpg").write_bytes(source.read_bytes())
    (tmp_path / "part" / "round" / "broken.jpg").write_bytes(b"no image")
    matrix = tmp_path / "confusion.csv"
    assert main(["evaluate", str(out), "--data", data, "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["images"] == 6
    assert set(whole["per_class"]) == {"round", "square"}
    # A data set with some of the model's classes is scored too, and what cannot be read is named.
    options = ["--data", str(tmp_path / "part"), "--split", "all", "--json", "--confusion", str(matrix)]
    assert main(["evaluate", str(out / "best"), *options]) == 0
    part = json.loads(capsys.readouterr().out)
    assert (part["images"], len(part["skipped"])) == (3, 1)
    assert part["per_class"] == {"round": whole["per_class"]["round"], "square": None}
    assert next(csv.reader(matrix.open()))[1:] == ["round", "square"]
    # Weights outside of their run's folder may have learned from any image.
    shutil.copytree(out / "best", tmp_path / "alone")
    assert main(["evaluate", str(tmp_path / "alone"), "--data", str(tmp_path / "part")]) == 0
    assert "do not tell which images they learned from" in capsys.readouterr().err
