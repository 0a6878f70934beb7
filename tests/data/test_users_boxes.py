"""Data sets with boxes as people's programs write them: read as they are meant, or refused in a sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from coco_folder import draw_coco_folder
from sparsevision.cli import main
from sparsevision.errors import DataError
from sparsevision.tasks import inspect_dataset, task_of_data
from sparsevision.tasks.detection.task import DetectionTask

Edit = Callable[[dict[str, Any]], object]


def boxes(folder: Path, split: str = "train") -> np.ndarray:
    data: Any = DetectionTask.open(str(folder), split)
    return np.concatenate([data.objects(index).boxes for index in range(len(data))])


def edit(folder: Path, change: Edit, split: str = "train", encoding: str = "utf-8") -> None:
    path = folder / "annotations" / f"{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content), encoding=encoding)


def each(kind: str, change: Callable[[dict[str, Any]], object]) -> Edit:
    return lambda content: [change(row) for row in content[kind]]


def notes(folder: Path) -> str:
    return " ".join(inspect_dataset(str(folder)).notes)


def test_files_that_belong_to_no_annotation_are_counted(coco: Path, yolo: Path, voc: Path) -> None:
    for folder in (coco / "train", yolo / "images" / "train", voc / "JPEGImages"):
        (folder / "a.heic").write_bytes(b"x")
    assert all(".heic 1" in notes(folder) for folder in (coco, yolo, voc))
    Image.new("RGB", (8, 8)).save(coco / "train" / "more.png")
    assert "Not read: 1 image in" in notes(coco)
    assert ", not listed in train.json." in notes(coco)
    (yolo / "labels" / "train" / "none.txt").write_text("0 0.5 0.5 0.1 0.1")
    assert "Not read: 1 text without an image, first" in notes(yolo)
    shutil.rmtree(voc / "ImageSets")
    (voc / "Annotations" / "train_003.xml").unlink()
    assert "Not read: 1 image in" in notes(voc)
    assert " without an xml file." in notes(voc)


# ------------------------------------------------------------------------------------------------------------- COCO


@pytest.mark.parametrize(
    "change",
    [
        each("annotations", lambda row: row.update(image_id=float(row["image_id"]))),
        each("annotations", lambda row: row.update(image_id=str(row["image_id"]), category_id=str(row["category_id"]))),
        each("images", lambda row: row.update(id=str(row["id"]))),
        each("images", lambda row: (row.pop("width"), row.pop("height"))),
        each("images", lambda row: row.update(width=None, height=0)),
        each("images", lambda row: row.update(file_name=f"..\\train\\{row['file_name']}")),
    ],
)
def test_what_other_programs_write_into_cocos_json_is_read(coco: Path, change: Edit) -> None:
    before = boxes(coco)
    edit(coco, change)
    np.testing.assert_allclose(boxes(coco), before, atol=1e-9)
    data = DetectionTask.open(str(coco))
    assert all(data.read(index).image.size == (96, 72) for index in range(len(data)))


def test_numbers_of_very_many_digits_are_a_sentence(coco: Path, yolo: Path) -> None:
    edit(coco, each("annotations", lambda row: row.update(category_id="9" * 5000)))
    (yolo / "data.yaml").write_text(f"names: {{'{'9' * 5000}': square}}")
    for folder in (coco, yolo):
        with pytest.raises(DataError) as caught:
            boxes(folder)
        assert len(str(caught.value)) < 400


def test_a_byte_order_mark_is_no_damage(coco: Path, yolo: Path) -> None:
    before = boxes(coco)
    edit(coco, lambda content: None, encoding="utf-8-sig")
    np.testing.assert_allclose(boxes(coco), before)
    for path in (*(yolo / "labels" / "train").glob("*.txt"), yolo / "data.yaml"):
        path.write_text(path.read_text(), encoding="utf-8-sig")
    assert len(boxes(yolo)) == len(before)


def test_names_as_servers_and_other_systems_write_them_are_found(coco: Path) -> None:
    (coco / "train" / "003.png").rename(coco / "train" / "blood cell é.png")
    edit(coco, lambda content: content["images"][3].update(file_name="blood%20cell%20e\u0301.png"))
    assert DetectionTask.open(str(coco)).read(3).image.size == (96, 72)


@pytest.mark.parametrize(
    ("bbox", "said"),
    [
        (
            lambda x, y, w, h: [x / 96, y / 72, w / 96, h / 72],
            "seem to be fractions of the image, and COCO's are pixels",
        ),
        (lambda x, y, w, h: [x + 40, y + 30, x + 40 + w, y + 30 + h], "seem to be corners"),
    ],
)
def test_boxes_in_another_form_are_refused(coco: Path, bbox: Callable[..., list[float]], said: str) -> None:
    edit(coco, each("images", lambda row: row.update(width=136, height=102)) if "corners" in said else lambda c: None)
    edit(coco, each("annotations", lambda row: row.update(bbox=bbox(*row["bbox"]))))
    with pytest.raises(DataError, match=said):
        DetectionTask.open(str(coco))
    assert any(said in sentence for sentence in inspect_dataset(str(coco)).harmful)


def test_a_category_that_only_groups_the_others_is_left_out(coco: Path) -> None:
    def grouped(content: dict[str, Any]) -> None:
        for row in content["categories"]:
            row["supercategory"] = "shapes"
        content["categories"].insert(0, {"id": 0, "name": "shapes", "supercategory": "none"})

    for split in ("train", "val"):
        edit(coco, grouped, split)
    assert DetectionTask.open(str(coco)).classes == ("disc", "square")
    assert "The category 'shapes' only groups others, and is left out." in notes(coco)


def test_a_set_without_val_holds_some_images_out(coco: Path) -> None:
    (coco / "annotations" / "val.json").unlink()
    train, val = (DetectionTask.open(str(coco), split) for split in ("train", "val"))
    assert len(train) + len(val) == 12
    assert not set(train.names) & set(val.names)
    assert len(val) > 1
    report = inspect_dataset(str(coco))
    assert [(each.split, each.images) for each in report.splits] == [("train", len(train)), ("val", len(val))]
    (coco / "annotations" / "train.json").rename(coco / "annotations.json")
    assert DetectionTask.open(str(coco), "train").names == train.names
    assert len(DetectionTask.open(str(coco), "all")) == 12


def test_the_number_of_objects_that_is_too_large_is_told(coco: Path) -> None:
    def crowded(content: dict[str, Any]) -> None:
        content["annotations"] += [
            {"id": 1000 + i, "image_id": 101, "category_id": 3, "bbox": [i % 20 * 4, i // 20 * 4, 3, 3]}
            for i in range(150)
        ]

    edit(coco, crowded)
    assert "objects, perhaps more than a model has queries (its num_queries, which `train` raises" in notes(coco)


def test_very_many_boxes_do_not_fill_the_memory(coco: Path) -> None:
    draws = np.random.default_rng(0).uniform(0, 60, (100_000, 2)).tolist()
    rows = [{"id": i, "image_id": 101, "category_id": 3, "bbox": [x, y, 9, 9]} for i, (x, y) in enumerate(draws)]
    edit(coco, lambda content: content.update(annotations=[*rows, {**rows[7], "id": -1}]))
    [train, _] = inspect_dataset(str(coco)).splits
    assert train.objects == 100_001
    assert len(train.repeated) >= 1


def test_sets_without_objects_are_refused(coco: Path, tmp_path: Path, capsys) -> None:
    edit(coco, lambda content: content.update(annotations=[]), "val")
    command = ["train", "--data", str(coco), "--out", str(tmp_path / "run"), "--model", "sparse_detr_nano"]
    assert main(command) == 2
    assert f"None of the 4 images of {str(coco)!r} to score shows an object" in capsys.readouterr().err
    assert any("to score shows an object" in sentence for sentence in inspect_dataset(str(coco)).harmful)


def test_a_classifier_on_a_set_of_boxes_is_told_what_it_is(coco: Path, tmp_path: Path, capsys) -> None:
    command = ["train", "--data", str(coco), "--out", str(tmp_path / "run"), "--model", "sparseformer_nano"]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert (
        f"{coco} is annotated for detection, and the model is one for classification: name a --model for detection"
        in said
    )


# ------------------------------------------------------------------------------------------------------------- YOLO


def rewritten(folder: Path, line: Callable[[list[str]], str]) -> None:
    for path in folder.rglob("labels/*/*.txt"):
        path.write_text("\n".join(line(words.split()) for words in path.read_text().splitlines()))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (lambda words: " ".join([*words, "0.93"]), "a number behind the box, which is left out"),
        (lambda words: " ".join([*words, "0.93", "17"]), "2 numbers behind the box (keypoints or a track)"),
        (lambda words: " ".join([*words, *words[1:3] * 4]), "8 numbers behind the box (keypoints or a track)"),
        (lambda words: " ".join([*words, *[words[1], words[2], "2"] * 3]), "9 numbers behind the box"),
    ],
)
def test_what_follows_a_box_is_never_another_box(yolo: Path, line: Callable[[list[str]], str], said: str) -> None:
    before = boxes(yolo)
    rewritten(yolo, line)
    np.testing.assert_allclose(boxes(yolo), before)
    assert said in notes(yolo)


def test_declared_keypoints_leave_their_boxes(yolo: Path) -> None:
    before = boxes(yolo)
    rewritten(yolo, lambda words: " ".join([*words, "0", "0", "0.1", "0.2"]))
    (yolo / "data.yaml").write_text((yolo / "data.yaml").read_text() + "kpt_shape: [2, 2]\n")
    np.testing.assert_allclose(boxes(yolo), before)


def outline(words: list[str], turned: bool = False) -> str:
    x, y, w, h = map(float, words[1:])
    corners = [(x - w / 2, y - h / 2), (x + w / 2, y - h / 2), (x + w / 2, y + h / 2), (x - w / 2, y + h / 2)]
    points = corners if turned else [*corners, (x - w / 2, y)]
    return " ".join([words[0], *(str(value) for point in points for value in point)])


def test_outlines_are_still_outlines(yolo: Path) -> None:
    before = boxes(yolo)
    rewritten(yolo, lambda words: outline(words, turned=True))
    np.testing.assert_allclose(boxes(yolo), before, atol=1e-9)


def test_outlines_that_may_be_keypoints_are_asked_about(yolo: Path) -> None:
    before = boxes(yolo)
    rewritten(yolo, outline)
    described = (yolo / "data.yaml").read_text()
    (yolo / "data.yaml").write_text(f"{described}task: segment\n")
    np.testing.assert_allclose(boxes(yolo), before, atol=1e-9)
    for path in yolo.rglob("labels/*/*.txt"):
        path.write_text("0 0.5 0.5 0.6 0.5 0.6 0.6 0.5 0.6 0.45 0.55")
    (yolo / "data.yaml").write_text(described)
    with pytest.raises(DataError, match="may be outlines, or boxes with keypoints or a track: write task: segment"):
        DetectionTask.open(str(yolo))


def test_boxes_in_pixels_are_refused(yolo: Path) -> None:
    rewritten(yolo, lambda words: " ".join([words[0], *(str(96 * float(word)) for word in words[1:])]))
    with pytest.raises(DataError, match="go beyond 1: they seem to be pixels, and YOLO's are fractions"):
        DetectionTask.open(str(yolo))


def test_a_single_box_in_pixels_is_refused(yolo: Path) -> None:
    path = yolo / "labels" / "train" / "001.txt"
    path.write_text(f"{path.read_text()}\n0 48 36 20 10\n")
    with pytest.raises(DataError, match=r"001.txt has a box that goes beyond 1, 48 36 20 10: it seems to be in pixels"):
        DetectionTask.open(str(yolo))


@pytest.mark.parametrize("place", ["beside", "Labels"])
def test_texts_are_found_where_programs_put_them(yolo: Path, place: str) -> None:
    before = boxes(yolo)
    if place == "beside":
        for path in yolo.rglob("labels/*/*.txt"):
            shutil.move(path, yolo / "images" / path.parent.name / path.name)
        shutil.rmtree(yolo / "labels")
    else:
        (yolo / "labels").rename(yolo / "Labels")
    np.testing.assert_allclose(boxes(yolo), before)


def test_a_list_of_images_starts_from_the_path(yolo: Path, tmp_path: Path) -> None:
    before, moved = boxes(yolo), tmp_path / "elsewhere"
    (yolo / "train.txt").write_text("\n".join(f"images/train/{number:03d}.png" for number in range(12)))
    yolo.rename(moved)
    yolo.mkdir()
    (yolo / "data.yaml").write_text(f"path: {moved}\ntrain: train.txt\nval: images/val\nnames: [square, disc]")
    np.testing.assert_allclose(boxes(yolo), before)


@pytest.mark.parametrize(
    ("line", "said"), [("val: nowhere", "leads to no images"), ("train: [images/train, b]", "'b'")]
)
def test_folders_that_a_yaml_names_are_all_there(yolo: Path, line: str, said: str) -> None:
    (yolo / "data.yaml").write_text(f"names: [square, disc]\n{line}\n")
    with pytest.raises(DataError, match=said):
        DetectionTask.open(str(yolo), line.split(":")[0])


def test_a_test_folder_that_only_the_yaml_has_is_no_split(yolo: Path) -> None:
    (yolo / "data.yaml").write_text("names: [square, disc]\ntest: ../test/images\n")
    assert DetectionTask.splits(str(yolo)) == ("train", "val")


def test_a_set_without_any_text_is_refused(yolo: Path, tmp_path: Path, capsys) -> None:
    shutil.rmtree(yolo / "labels")
    assert main(["train", "--data", str(yolo), "--out", str(tmp_path / "run"), "--model", "sparse_detr_nano"]) == 2
    assert "to train on shows an object: see that annotations lie where the layout has them" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------------- Pascal VOC


def test_xml_files_and_images_may_lie_in_further_folders(voc: Path) -> None:
    before = boxes(voc)
    names = {}
    for split in ("train", "val"):
        listed = voc / "ImageSets" / "Main" / f"{split}.txt"
        names[split] = listed.read_text().split()
        listed.write_text("\n".join(f"deep/{name}" for name in names[split]))
    for folder, suffix in (("Annotations", "xml"), ("JPEGImages", "png")):
        (voc / folder / "deep").mkdir()
        for path in (voc / folder).glob(f"*.{suffix}"):
            path.rename(voc / folder / "deep" / path.name)
    np.testing.assert_allclose(boxes(voc), before)
    assert DetectionTask.open(str(voc)).read(2).image.size == (96, 72)
    shutil.rmtree(voc / "ImageSets")
    assert task_of_data(voc) == "detection"
    assert len(DetectionTask.open(str(voc), "all")) == 16


def test_fractions_in_an_xml_are_refused(voc: Path) -> None:
    for path in (voc / "Annotations").glob("*.xml"):
        text = path.read_text()
        for name in ("xmin", "ymin", "xmax", "ymax"):
            first, *parts = text.split(f"<{name}>")
            text = first + "".join(f"<{name}>0.{part.split('<')[0]}<" + part.split("<", 1)[1] for part in parts)
        path.write_text(text)
    with pytest.raises(DataError, match="seem to be fractions of the image, and VOC's are pixels"):
        DetectionTask.open(str(voc))


@pytest.mark.parametrize("layout", [draw_coco_folder, None])
def test_split_folders_of_any_spelling_hold_boxes(coco: Path, yolo: Path, layout: object) -> None:
    root = coco if layout else yolo
    before = boxes(root)
    if layout:
        for split, other in (("train", "Train"), ("val", "validation_set")):
            (root / split).rename(root / other)
            (root / "annotations" / f"{split}.json").rename(root / "annotations" / f"instances_{other}.json")
    else:
        for kind in ("images", "labels"):
            (root / kind / "train").rename(root / kind / "Training")
        (root / "data.yaml").write_text("names: [square, disc]\nval: images/val\n")
    np.testing.assert_allclose(boxes(root), before)
    assert DetectionTask.splits(str(root)) == ("train", "val")


def test_a_damaged_image_of_unknown_size_is_skipped_later(coco: Path) -> None:
    edit(coco, each("images", lambda row: (row.pop("width"), row.pop("height"))))
    (coco / "train" / "002.png").write_bytes(b"damaged")
    assert len(DetectionTask.open(str(coco))) == 12
    assert [one.name for one in inspect_dataset(str(coco)).splits[0].broken] == ["002.png"]
    assert Image.open(coco / "train" / "001.png").size == (96, 72)
