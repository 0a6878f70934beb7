"""A sweep over controls and choices: rows are what evaluate reports, all images take turns, files come out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from coco_folder import draw_coco_folder
from sparsevision import cli
from sparsevision.errors import ConfigError, DataError
from sparsevision.evaluation.evaluate import evaluate
from sparsevision.evaluation.sweep import _Setting, sweep
from tiny_detector import save_tiny_detector


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_detector(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(draw_coco_folder(tmp_path_factory.mktemp("shapes") / "data"))


def found(report: object) -> list[int]:
    return [one.found for one in report.per_class]


def test_a_row_is_what_evaluate_says_of_its_setting(weights: Path, data: str) -> None:
    swept = sweep(weights, data, values={"keep_ratio": (1.0, 0.1)})
    assert [(row.settings["selection"], row.settings["keep_ratio"]) for row in swept.rows] == [
        ("dam", 0.1), ("dam", 1.0), ("random", 0.1), ("random", 1.0)
    ]  # fmt: skip
    for row in swept.rows[:2]:
        assert found(row.report) == found(evaluate(weights, data, keep_ratio=row.settings["keep_ratio"])[0])
    assert found(swept.rows[0].report) != found(swept.rows[1].report)
    assert found(swept.rows[0].report) != found(swept.rows[2].report)
    assert found(swept.rows[1].report) == found(swept.rows[3].report), "all tokens are all tokens"
    assert all(0 < row.seconds.low <= row.seconds.value <= row.seconds.high for row in swept.rows)
    again = sweep(weights, data, values={"keep_ratio": (0.1,), "selection": ("random",)})
    assert found(again.rows[0].report) == found(swept.rows[2].report)


def test_settings_take_turns_image_by_image(weights: Path, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = []
    own = _Setting.add
    monkeypatch.setattr(
        _Setting, "add", lambda setting, batch: turns.append(setting.controls["keep_ratio"]) or own(setting, batch)
    )
    sweep(weights, data, values={"keep_ratio": (0.1, 0.5), "selection": ("dam",)})
    assert turns == [0.1, 0.5, 0.5, 0.1, 0.1, 0.5]


def test_one_command_writes_figures_and_a_drawing(weights: Path, data: str, tmp_path: Path, capsys) -> None:
    out = tmp_path / "new" / "sweep"
    words = ["evaluate", str(weights), "--data", data, "--split", "train", "--keep-ratio", "0.1", "0.5"]
    assert cli.main([*words, "--out", str(out)]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split()[:5] == ["selection", "keep", "ratio", "AP", "AP50"]
    assert [row.split()[:2] for row in rows] == [["dam", "0.1"], ["dam", "0.5"], ["random", "0.1"], ["random", "0.5"]]
    written = json.loads((out / "sweep.json").read_text())
    assert written["trained"] == {"selection": "dam", "keep_ratio": 0.3}
    assert written["machine"]["cores"] >= 1
    first = written["rows"][0]
    assert (first["selection"], first["keep_ratio"], first["images"]) == ("dam", 0.1, 6)
    assert {"ap", "ap50", "small", "medium", "large"} <= set(first)
    assert 0 < first["milliseconds"]["low"] <= first["milliseconds"]["median"] <= first["milliseconds"]["high"]
    assert Image.open(out / "sweep.png").width > 1000
    assert cli.main([*words, "--selection", "random", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["selection"] for row in printed["rows"]] == ["random", "random"]


def test_what_cannot_be_swept_is_one_sentence(weights: Path, data: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no control or choice to sweep"):
        sweep(save_tiny_detector(tmp_path / "dense", selection="all"), data)
    with pytest.raises(ConfigError, match="Unknown selection in this model: 'objectness'"):
        sweep(weights, data, values={"selection": ("dam", "objectness")})
    folder = draw_coco_folder(tmp_path / "data", val=1)
    (folder / "val" / "000.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="None of the 1 images"):
        sweep(weights, str(folder), values={"keep_ratio": (0.1,)})
