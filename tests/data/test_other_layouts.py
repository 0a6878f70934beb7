"""YOLO's and Pascal VOC's layouts: the same boxes as in COCO's, no image opened before its turn, sentences."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coco_folder import as_voc_folder, as_yolo_folder, draw_coco_folder
from sparsevision.data.objects import Objects
from sparsevision.errors import DataError, MissingExtraError, UnreadableImageError
from sparsevision.tasks import task_of_data
from sparsevision.tasks.detection.task import DetectionTask

CONVERT = {"yolo": as_yolo_folder, "voc": as_voc_folder}


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return draw_coco_folder(tmp_path / "coco")


@pytest.mark.parametrize("layout", CONVERT)
@pytest.mark.parametrize("split", ["train", "val"])
def test_every_layout_has_the_same_boxes(coco: Path, layout: str, split: str, tmp_path: Path) -> None:
    expected = DetectionTask.open(coco, split)
    found = DetectionTask.open(CONVERT[layout](coco, tmp_path / layout), split)
    assert sorted(found.classes) == sorted(expected.classes)
    assert len(found) == len(expected)
    for index in range(len(expected)):
        one, other = expected.read(index), found.read(index)
        assert one.image.tobytes() == other.image.tobytes()
        assert isinstance(one.target, Objects)
        assert isinstance(other.target, Objects)
        np.testing.assert_allclose(other.target.boxes, one.target.boxes, atol=1e-6)
        np.testing.assert_allclose(other.target.areas, one.target.areas, atol=1e-6)
        names = [[data.classes[i] for i in it.labels] for data, it in ((expected, one.target), (found, other.target))]
        assert names[0] == names[1]
    assert len(found.objects(0)) == 0
    assert found.labels[0] == -1


@pytest.mark.parametrize("layout", CONVERT)
def test_images_are_opened_when_it_is_their_turn(coco: Path, layout: str, tmp_path: Path) -> None:
    folder = CONVERT[layout](coco, tmp_path / layout)
    for path in folder.rglob("*.png"):
        path.write_bytes(b"no image")
    data = DetectionTask.open(folder)
    assert len(data) == 6
    assert len(data.objects(1)) > 0
    with pytest.raises(UnreadableImageError):
        data.read(1)


def test_the_layout_is_known_and_so_are_its_splits(coco: Path, yolo: Path, voc: Path, tmp_path: Path) -> None:
    for folder in (coco, yolo, voc):
        assert task_of_data(folder) == "detection"
        assert DetectionTask.splits(str(folder)) == ("train", "val")
        with pytest.raises(DataError, match="'test'"):
            DetectionTask.open(folder, "test")
    (voc / "ImageSets" / "Main" / "test.txt").write_text("val_001")
    assert DetectionTask.splits(str(voc)) == ("train", "val", "test")
    assert len(DetectionTask.open(voc, "test")) == 1
    assert task_of_data(tmp_path) == "classification"
    with pytest.raises(DataError, match="has no boxes"):
        DetectionTask.open(tmp_path)


def test_exported_folders_are_found(yolo: Path, voc: Path) -> None:
    for split, other in (("train", "train"), ("val", "valid")):
        for kind in ("images", "labels"):
            (yolo / other).mkdir(exist_ok=True)
            (yolo / kind / split).rename(yolo / other / kind)
    (yolo / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnames: {0: square, 1: disc}")
    assert len(DetectionTask.open(yolo, "val").objects(1)) > 0
    (yolo / "data.yaml").write_text("path: ../nowhere\ntrain: train.txt\nnames: {0: square, 5: disc}")
    (yolo / "train.txt").write_text("./train/images/000.png\n./train/images/003.png\n")
    (yolo / "train" / "labels" / "000.txt").write_text("5 0.5 0.5 0.25 0.5\n0 0.1 0.1 0.3 0.1 0.3 0.2\n")
    (yolo / "train" / "labels" / "003.txt").unlink()
    data = DetectionTask.open(yolo)
    assert (len(data), data.category_ids, len(DetectionTask.open(yolo, "val"))) == (2, (0, 5), 3)
    assert data.objects(0).labels.tolist() == [1, 0]
    np.testing.assert_allclose(data.objects(0).boxes, [[0.375, 0.25, 0.625, 0.75], [0.1, 0.1, 0.3, 0.2]], atol=1e-6)
    for split in ("train", "val"):
        (voc / split).mkdir()
        for stem in (voc / "ImageSets" / "Main" / f"{split}.txt").read_text().split():
            shutil.move(voc / "Annotations" / f"{stem}.xml", voc / split)
            shutil.move(voc / "JPEGImages" / f"{stem}.png", voc / split)
    shutil.rmtree(voc / "ImageSets")
    assert DetectionTask.open(voc, "val").read(1).image.size == (96, 72)


def test_difficult_things_are_as_crowds_and_a_missing_size_is_looked_up(voc: Path) -> None:
    page = voc / "Annotations" / "train_001.xml"
    before = DetectionTask.open(voc).objects(1)
    text = page.read_text().replace("<object>", "<object><difficult>1</difficult>", 1)
    page.write_text(text.replace("<size><width>96</width><height>72</height></size>", ""))
    after = DetectionTask.open(voc).objects(1)
    assert after.crowds.tolist() == [True] + [False] * (len(before) - 1)
    np.testing.assert_allclose(after.boxes, before.boxes)


def _line(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "labels" / "train" / "001.txt").write_text(text)


def _yaml(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "data.yaml").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_line("2 0.5 0.5 0.1 0.1"), "the class 2, which 'names'"),
        (_line("0 0.5 0.5 0.1"), "not a box"),
        (_line("0 0.5 nan 0.1 0.1"), "not a box"),
        (_line("square 0.5 0.5 0.1 0.1"), "not a box"),
        (_line("0 0.5 0.5 0.1 -0.1"), "not a box"),
        (_line("0 0.1 0.1 nan 0.1 0.3 0.2"), "not a box"),
        (lambda folder: (folder / "labels" / "train" / "001.txt").write_bytes(b"\xff\x00"), "not a text in UTF-8"),
        (_yaml("names: [square, disc"), "not intact YAML"),
        (_yaml("3"), "not in YOLO's layout"),
        (_yaml("train: images/train"), "no 'names'"),
        (_yaml("names: [disc, disc]"), "two classes 'disc'"),
        (_yaml("names: [square, disc]\ntrain: labels"), "has no images"),
        (lambda folder: shutil.rmtree(folder / "images"), "leads to no images"),
    ],
)
def test_what_is_wrong_with_yolos_files_is_a_sentence(yolo: Path, spoil: Callable[[Path], object], said: str) -> None:
    spoil(yolo)
    with pytest.raises(DataError, match=said) as caught:
        DetectionTask.open(yolo)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("</annotation>", "", "not intact XML"),
        ("<annotation>", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>', "not intact XML"),
        ("<bndbox>", "<box>", "not intact XML"),
        ("<xmin>", "<xmin>nan", "not a box"),
        ("<name>", "<name/><other>", "not intact XML"),
        ("<width>96", "<width>wide", "a size of 'wide'"),
    ],
)
def test_what_is_wrong_with_an_xml_is_a_sentence(voc: Path, old: str, new: str, said: str) -> None:
    page = voc / "Annotations" / "train_001.xml"
    page.write_text(page.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=said) as caught:
        DetectionTask.open(voc)
    assert "\n" not in str(caught.value)
    page.unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        DetectionTask.open(voc)


def test_without_supervision_it_is_said_what_is_missing(voc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "supervision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError, match=r"supervision.*detection"):
        DetectionTask.open(voc)
