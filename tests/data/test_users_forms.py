"""Boxes in the forms and places of other programs: found and read as they are meant, or refused in a sentence."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsevision.cli import main
from sparsevision.errors import DataError
from sparsevision.tasks import inspect_dataset, task_of_data
from sparsevision.tasks.detection.task import DetectionTask

CAFES = [unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD")]


def boxes(folder: Path, split: str = "train") -> np.ndarray:
    data: Any = DetectionTask.open(str(folder), split)
    return np.concatenate([data.objects(index).boxes for index in range(len(data))])


def edit(folder: Path, change: Callable[[dict[str, Any]], object], split: str = "train") -> None:
    path = folder / "annotations" / f"{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def rewritten(folder: Path, line: Callable[[list[str], int], str]) -> None:
    for path in folder.rglob("labels/*/*.txt"):
        lines = path.read_text().splitlines()
        path.write_text("\n".join(line(words.split(), number) for number, words in enumerate(lines)))


def notes(folder: Path) -> str:
    return " ".join(inspect_dataset(str(folder)).notes)


# ------------------------------------------------------------------------------------------------------------- YOLO


def test_texts_in_two_places_are_all_read(yolo: Path) -> None:
    before = boxes(yolo)
    (yolo / "extra" / "images").mkdir(parents=True)
    for number in range(6, 12):
        shutil.move(yolo / "images" / "train" / f"{number:03}.png", yolo / "extra" / "images")
        shutil.move(yolo / "labels" / "train" / f"{number:03}.txt", yolo / "extra" / "images")
    described = "train: [images/train, extra/images]\nval: images/val\nnames: [square, disc]"
    (yolo / "data.yaml").write_text(described)
    np.testing.assert_allclose(boxes(yolo), before)


def keypoints(words: list[str], visible: str, count: int) -> str:
    return " ".join([*words, *[words[1], words[2], *([visible] if visible else [])] * count])


@pytest.mark.parametrize(
    "line",
    [
        lambda words, number: " ".join([*words, str(number + 2), "0.9"]),
        lambda words, number: " ".join([*words, "0.9", str(number + 2)]),
        lambda words, number: keypoints(words, "", 2),
        lambda words, number: keypoints(words, "0.93", 3),
    ],
)
def test_what_follows_a_box_is_left_out(yolo: Path, line: Callable[[list[str], int], str]) -> None:
    before = boxes(yolo)
    rewritten(yolo, line)
    np.testing.assert_allclose(boxes(yolo), before)


def corners(words: list[str]) -> list[str]:
    x, y, width, height = map(float, words[1:])
    return [words[0], *map(str, (x - width / 2, y - height / 2, x + width / 2, y + height / 2))]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (lambda words, number: " ".join([words[0], "0.93", *words[1:]]), "a number between the class and the box"),
        (lambda words, number: f"{words[0]} 0.6 0.6 {0.9 + number / 100} 0.95", "they seem to be corners"),
        (lambda words, number: keypoints(words, "0.93", 4), "may be outlines, or boxes with keypoints or a track"),
        (lambda words, number: "0 0.5 0.5 0.9 0.9 0.9 1", "may be outlines, or boxes with keypoints or a track"),
    ],
)
def test_other_forms_are_refused(yolo: Path, line: Callable[[list[str], int], str], said: str) -> None:
    rewritten(yolo, line)
    with pytest.raises(DataError, match=said):
        boxes(yolo)


def test_names_are_read_as_they_are_written(yolo: Path) -> None:
    (yolo / "data.yaml").write_text("names: [no, 010]\ntest: null\nnc: 2")
    assert DetectionTask.open(str(yolo)).classes == ("no", "010")
    (yolo / "data.yaml").write_text("names: [square, disc]\nnc: 3")
    with pytest.raises(DataError, match="has 2 names and nc: 3: correct one of the two"):
        boxes(yolo)


def test_lists_of_another_machine_are_found_by_their_ends(yolo: Path) -> None:
    before = boxes(yolo)
    names = [f"/content/drive/my/yolo/images/train/{number:03}.PNG" for number in range(12)]
    (yolo / "list.txt").write_text("\n".join(names))
    (yolo / "data.yaml").write_text("train: list.txt\nval: images/val\nnames: [square, disc]")
    np.testing.assert_allclose(boxes(yolo), before)


# ------------------------------------------------------------------------------------------------------------- COCO


def test_one_odd_box_hides_no_other_form(coco: Path) -> None:
    path = coco / "annotations" / "train.json"
    good = path.read_text()

    def as_corners(content: dict[str, Any]) -> None:
        for row in content["annotations"]:
            x, y, width, height = row["bbox"]
            row["bbox"] = [x, y, x + width, y + height]
        content["annotations"][0]["bbox"] = [50, 40, 50, 60]

    def as_fractions(content: dict[str, Any]) -> None:
        for row in content["annotations"]:
            row["bbox"] = [value / 100 for value in row["bbox"]]
        content["annotations"][0]["bbox"] = [0, 0, 1.2, 1]

    for change, said in ((as_corners, "they seem to be corners"), (as_fractions, "they seem to be fractions")):
        path.write_text(good)
        edit(coco, change)
        with pytest.raises(DataError, match=said):
            boxes(coco)


@pytest.mark.parametrize("prefix", ["/home/me/data/train/", "C:\\data\\train\\", "images/train/"])
def test_images_of_another_machine_are_found_by_their_ends(coco: Path, prefix: str) -> None:
    edit(coco, lambda content: [row.update(file_name=prefix + row["file_name"].upper()) for row in content["images"]])
    data: Any = DetectionTask.open(str(coco))
    assert [data.path(index).name for index in range(3)] == ["000.png", "001.png", "002.png"]


def test_an_image_that_is_listed_twice_is_told(coco: Path) -> None:
    edit(coco, lambda content: content["images"].append({**content["images"][0], "id": 999}))
    assert "1 image is listed more than once, first '000.png'." in notes(coco)


@pytest.mark.parametrize(
    "place",
    ["{split}.json", "{split}/annotations.json", "annotations/{split}_annotations.json", "Annotations/{split}.JSON",
     "annotations/person_keypoints_{split}2017.json", "annotations/instances_{split}.JSON"],
)  # fmt: skip
def test_annotations_are_found_where_programs_put_them(coco: Path, place: str) -> None:
    before = boxes(coco)
    (coco / "annotations").rename(coco / "old")
    for split in ("train", "val"):
        (coco / place.format(split=split)).parent.mkdir(exist_ok=True)
        shutil.move(coco / "old" / f"{split}.json", coco / place.format(split=split))
    (coco / "old").rmdir()
    assert task_of_data(coco) == "detection"
    np.testing.assert_allclose(boxes(coco), before)


def test_images_of_a_split_may_lie_one_folder_deeper(coco: Path) -> None:
    for split in ("train", "val"):
        (coco / split).rename(coco / "moved")
        (coco / split).mkdir()
        (coco / "moved").rename(coco / split / "images")
    data: Any = DetectionTask.open(str(coco))
    assert data.read(0).name == str(coco / "train" / "images" / "000.png")


def test_two_files_or_folders_of_one_split_are_a_sentence(coco: Path, yolo: Path, voc: Path) -> None:
    path = coco / "annotations" / "train.json"
    for name in ("instances_train.json", "instances_train2017.json"):
        shutil.copy(path, path.with_name(name))
    path.unlink()
    shutil.copytree(yolo / "images" / "train", yolo / "images" / "training")
    for name in ("train", "Training"):
        for part in ("Annotations", "JPEGImages"):
            shutil.copytree(voc / part, voc / name / part)
    (yolo / "data.yaml").write_text("names: [square, disc]\nval: images/val")
    for folder, said in ((coco, "two json files for the split 'train'"), (yolo, "two folders"), (voc, "two folders")):
        with pytest.raises(DataError, match=said):
            boxes(folder)


# --------------------------------------------------------------------------------------------------------- in common


def test_one_class_in_two_spellings_is_refused_or_read_as_one(coco: Path, yolo: Path, voc: Path) -> None:
    edit(coco, lambda content: [row.update(name=name) for row, name in zip(content["categories"], CAFES, strict=True)])
    (yolo / "data.yaml").write_text(f"names: {json.dumps(CAFES, ensure_ascii=False)}")
    for folder, said in ((coco, "categories that cannot be told apart"), (yolo, "names two classes")):
        with pytest.raises(DataError, match=said):
            boxes(folder)
    for path in voc.rglob("*.xml"):
        text = path.read_text()
        path.write_text(text.replace("square", f" {CAFES[0]}").replace("disc", CAFES[1]))
    assert DetectionTask.open(str(voc)).classes == (CAFES[0],)


@pytest.mark.parametrize("mark", ["1", "True"])
def test_a_set_of_crowds_alone_is_refused(coco: Path, voc: Path, tmp_path: Path, mark: str, capsys) -> None:
    for split in ("train", "val"):
        edit(coco, lambda content: [row.update(iscrowd=mark) for row in content["annotations"]], split)
    for path in voc.rglob("*.xml"):
        path.write_text(path.read_text().replace("</name>", f"</name><difficult>{mark}</difficult>"))
    for folder in (coco, voc):
        assert (
            main(["train", "--data", str(folder), "--out", str(tmp_path / "run"), "--model", "sparse_detr_nano"]) == 2
        )
        assert "to train on shows an object" in capsys.readouterr().err
    edit(coco, lambda content: [row.update(iscrowd="0") for row in content["annotations"]])
    assert not DetectionTask.open(str(coco)).objects(1).crowds.any()  # type: ignore[attr-defined]


def test_files_of_voc_may_be_spelled_otherwise(voc: Path) -> None:
    before = boxes(voc)
    (voc / "Annotations").rename(voc / "annotations")
    (voc / "JPEGImages").rename(voc / "images")
    np.testing.assert_allclose(boxes(voc), before)


def test_a_wrong_kind_of_model_is_told(tmp_path: Path, yolo: Path, coco: Path, voc: Path, capsys) -> None:
    (tmp_path / "my" / "ant").mkdir(parents=True)
    train = ["train", "--out", str(tmp_path / "run"), "--data"]
    assert main([*train, str(tmp_path / "my"), "--model", "sparse_detr_nano"]) == 2
    assert "If it is a data set for classification, name a --model for that." in capsys.readouterr().err
    assert main([*train, str(yolo), "--model", "sparseformer_nano"]) == 2
    said = capsys.readouterr().err
    assert "remove" not in said
    assert "name a --model for detection" in said
    assert "data.yaml" not in said
    assert main([*train, str(yolo / "images"), "--model", "sparseformer_nano"]) == 2
    assert "seem to be splits, not classes" in capsys.readouterr().err
    (yolo / "data.yaml").unlink()
    assert main([*train, str(yolo)]) == 2
    assert f"write the classes' names into {yolo / 'data.yaml'}" in capsys.readouterr().err
    for folder in (coco, voc):
        assert main([*train, str(folder), "--model", "sparseformer_nano"]) == 2
        assert "data.yaml" not in capsys.readouterr().err
