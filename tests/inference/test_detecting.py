"""`predict` with a detector on the command line: counts, lines, COCO's results, drawn images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from coco_folder import draw_coco_folder
from sparsevision import cli
from sparsevision.inference import Predictor
from tiny_detector import save_tiny_detector


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_detector(tmp_path_factory.mktemp("weights") / "tiny"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return draw_coco_folder(tmp_path / "data")


def test_the_table_counts_every_class(weights: str, data: Path, capsys) -> None:
    assert cli.main(["predict", str(data / "train"), "--model", weights]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["image", "disc", "square"]
    results = Predictor(weights, "cpu")(sorted((data / "train").iterdir()))
    expected = [[r.name, str(r.counts().get("disc", 0)), str(r.counts().get("square", 0))] for r in results]
    assert [row.split() for row in rows] == expected


def test_lines_have_boxes_and_options_reach_the_model(weights: str, data: Path, capsys) -> None:
    words = ["predict", str(data / "train" / "003.png"), "--model", weights, "--json", "--threshold", "0"]
    assert cli.main(words) == 0
    [line] = map(json.loads, capsys.readouterr().out.splitlines())
    assert len(line["objects"]) == 16
    assert all(len(one["box"]) == 4 and 0 <= one["score"] <= 1 for one in line["objects"])
    assert cli.main([*words, "--keep-ratio", "0.05"]) == 0
    assert json.loads(capsys.readouterr().out) != line


def test_cocos_results_number_images_by_their_order(weights: str, data: Path, tmp_path: Path, capsys) -> None:
    target = tmp_path / "found.json"
    assert cli.main(["predict", str(data / "train"), "--model", weights, "--coco", str(target)]) == 0
    said = capsys.readouterr().err
    assert "Images are numbered from 1 in found.json, and found.images.json says which is which: --annotations" in said
    rows, names = json.loads(target.read_text()), json.loads((tmp_path / "found.images.json").read_text())
    assert [(one["id"], Path(one["file_name"]).name) for one in names][:2] == [(1, "000.png"), (2, "001.png")]
    results = Predictor(weights, "cpu")(sorted((data / "train").iterdir()))
    assert len(rows) == sum(len(result.labels) for result in results)
    x0, y0, x1, y1 = results[0].boxes[0]
    assert rows[0]["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0], abs=0.002)
    assert (rows[0]["image_id"], rows[0]["category_id"]) == (1, results[0].category_ids[0])
    assert rows[0]["score"] == pytest.approx(results[0].scores[0], abs=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "found.images.json", "found.json"]


def test_cocos_results_take_ids_from_annotations(weights: str, data: Path, tmp_path: Path, capsys) -> None:
    pycocotools = pytest.importorskip("pycocotools.coco")
    annotations, target = data / "annotations" / "train.json", tmp_path / "found.json"
    words = ["predict", str(data / "train"), "--model", weights, "--coco", str(target), "--threshold", "0"]
    assert cli.main([*words, "--annotations", str(annotations)]) == 0
    rows = json.loads(target.read_text())
    assert {row["image_id"] for row in rows} == set(range(100, 106))
    assert {row["category_id"] for row in rows} == {3, 7}
    assert len(pycocotools.COCO(str(annotations)).loadRes(str(target)).anns) == 6 * 16
    content = json.loads(annotations.read_text())
    content["images"] = content["images"][1:]
    annotations.write_text(json.dumps(content))
    capsys.readouterr()
    assert cli.main([*words, "--annotations", str(annotations), "--overwrite"]) == 0
    assert {row["image_id"] for row in json.loads(target.read_text())} == set(range(101, 106))
    assert "000.png is not listed in the annotations." in capsys.readouterr().err


def test_drawn_images_are_named_as_theirs(weights: str, data: Path, tmp_path: Path, capsys) -> None:
    Image.open(data / "val" / "001.png").save(tmp_path / "001.jpg")
    sources = [str(data / "train" / "001.png"), str(data / "val" / "001.png"), str(tmp_path / "001.jpg")]
    assert cli.main(["predict", *sources, "--model", weights, "--draw", str(tmp_path / "drawn")]) == 0
    assert sorted(path.name for path in (tmp_path / "drawn").glob("0*")) == ["001-2.png", "001-3.jpg", "001.png"]
    assert Image.open(tmp_path / "drawn" / "001.png").size == (640, 480)
