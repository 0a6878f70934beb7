"""`evaluate` with a detector: by size, by class, at the thresholds of the weights; classes are matched by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coco_folder import as_voc_folder, as_yolo_folder, draw_coco_folder
from sparsevision import cli
from sparsevision.errors import ConfigError
from sparsevision.evaluation.evaluate import evaluate
from sparsevision.inference import Predictor
from tiny_detector import METADATA, save_tiny_detector


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_detector(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return draw_coco_folder(tmp_path / "data")


def test_counts_are_those_of_predict_and_of_the_data(weights: Path, data: Path) -> None:
    report, skipped = evaluate(weights, str(data), split="train")
    results = Predictor(weights, "cpu")(sorted((data / "train").iterdir()))
    content = json.loads((data / "annotations" / "train.json").read_text())
    assert skipped == []
    assert report.images == 6
    for one, category, threshold in zip(report.per_class, (3, 7), METADATA.thresholds, strict=True):
        assert one.threshold == threshold
        assert one.objects == sum(row["category_id"] == category for row in content["annotations"])
        assert one.found == sum(result.counts().get(one.name, 0) for result in results)


def test_the_table_tells_sizes_and_classes(weights: Path, data: Path, capsys) -> None:
    assert cli.main(["evaluate", str(weights), "--data", str(data)]) == 0
    scored, headline, heading, *rows = capsys.readouterr().out.splitlines()
    assert scored.startswith("Scored: 3 images of ")
    assert "3 images: AP " in headline
    assert all(said in headline for said in ("AP50 ", "small ", "medium not defined", "large not defined"))
    assert heading.split() == ["class", "objects", "found", "count", "error", "minimum", "score", "F1", "AP", "AP50"]
    assert [row.split()[0] for row in rows] == ["disc", "square"]
    assert [row.split()[4] for row in rows] == ["0.450", "0.550"]
    assert cli.main(["evaluate", str(weights), "--data", str(data), "--json", "--keep-ratio", "0.05"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {"small", "medium", "large", "recall"} <= set(printed)
    assert {"ap", "ap50", "threshold", "f1", "count_error"} <= set(printed["per_class"][0])
    assert printed["per_class"] != evaluate(weights, str(data))[0].to_dict()["per_class"]


def test_classes_are_matched_by_name(weights: Path, data: Path) -> None:
    before = [one.objects for one in evaluate(weights, str(data), split="train")[0].per_class]
    path = data / "annotations" / "train.json"
    content = json.loads(path.read_text())
    numbers = {3: 20, 7: 10}
    for row in content["categories"]:
        row["id"] = numbers[row["id"]]
    for row in content["annotations"]:
        row["category_id"] = numbers[row["category_id"]]
    path.write_text(json.dumps(content))
    report, _ = evaluate(weights, str(data), split="train")
    assert report.classes == ("disc", "square")
    assert [one.objects for one in report.per_class] == before
    content["categories"][0]["name"] = "star"
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="does not know \\('star'"):
        evaluate(weights, str(data), split="train")


def test_a_image_that_cannot_be_read_is_left_out_and_named(weights: Path, data: Path, capsys) -> None:
    (data / "val" / "001.png").write_bytes(b"no image")
    assert cli.main(["evaluate", str(weights), "--data", str(data)]) == 0
    printed = capsys.readouterr()
    assert "\n2 images: " in printed.out
    assert "001.png" in printed.err


def test_a_layout_changes_no_evaluate(weights: Path, data: Path, tmp_path: Path) -> None:
    reports = []
    for folder in (data, as_yolo_folder(data, tmp_path / "yolo"), as_voc_folder(data, tmp_path / "voc")):
        report, _ = evaluate(weights, str(folder), split="train")
        reports.append(report)
    assert len({(report.images, round(report.ap, 6), round(report.recall, 6)) for report in reports}) == 1
    assert [sorted((one.name, one.objects) for one in report.per_class) for report in reports[1:]] == [
        sorted((one.name, one.objects) for one in reports[0].per_class)
    ] * 2
