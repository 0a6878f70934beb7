"""What the doctor finds in a data set for detection."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from coco_folder import as_voc_folder, as_yolo_folder, draw_coco_folder
from sparsevision.cli import main
from sparsevision.tasks.detection.inspection import BoxesSplit
from sparsevision.tasks.detection.task import DetectionTask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images to train on and three to score, of discs and squares; the first of each shows nothing."""
    return draw_coco_folder(tmp_path / "shapes", train=10)


def edit(folder: Path, change: Callable[[dict[str, Any]], object], split: str = "train") -> None:
    path = folder / "annotations" / f"{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def add(folder: Path, *boxes: list[float], image: int = 101, category: int = 3, **more: Any) -> None:
    """Annotates an image of train with more boxes."""
    rows = [{"image_id": image, "category_id": category, "bbox": box, **more} for box in boxes]
    edit(folder, lambda content: content["annotations"].extend(rows))


def train_of(folder: Path) -> BoxesSplit:
    return DetectionTask.inspect(str(folder)).splits[0]


@pytest.mark.parametrize("convert", [None, as_yolo_folder, as_voc_folder])
def test_a_sound_data_set_is_counted(folder: Path, convert: Callable[..., Path] | None, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    root = folder if convert is None else convert(folder, tmp_path / "other")
    report = DetectionTask.inspect(str(root), progress=lambda done, of: told.append((done, of)))
    rows = json.loads((folder / "annotations" / "train.json").read_text())["annotations"]
    train, val = report.splits
    assert report.harmful == ()
    assert (train.split, train.images, val.split, val.images) == ("train", 10, "val", 3)
    for name, number in (("disc", 3), ("square", 7)):
        of_class = [row["image_id"] for row in rows if row["category_id"] == number]
        assert train.per_class[name] == (len(of_class), len(set(of_class)))
    assert train.objects == len(rows) == sum(train.box_sizes)
    assert train.sides == ((72, 72, 72), (96, 96, 96))
    assert train.box_sides is not None
    assert 16 <= train.box_sides[0] <= train.box_sides[1] <= train.box_sides[2] < 32
    assert len(train.empty) == 1
    assert "000.png" in train.empty[0]
    assert told[-1] == (13, 13)
    assert json.loads(json.dumps(report.to_dict()))["layout"] == report.layout


def test_ids_with_holes_and_images_that_show_nothing_are_noted(folder: Path) -> None:
    report = DetectionTask.inspect(str(folder))
    assert report.category_ids == (3, 7)
    assert "category ids have holes (3 to 7)" in report.notes[0]
    assert "1 image of train without objects." in report.notes


def test_boxes_that_would_hurt_are_named_by_their_image(folder: Path) -> None:
    add(folder, [-10, 5, 30, 30], [90, 60, 30, 30])
    add(folder, [5, 5, 0, 10], [300, 300, 5, 5], image=102)
    add(folder, [10, 10, 40, 40], [10, 10, 40, 41], image=103)
    add(folder, [10, 10, 40, 40], image=103, category=7)
    report = DetectionTask.inspect(str(folder))
    outside, flat, twice = report.harmful
    assert outside.startswith("2 boxes of train beyond the image's edge")
    assert "001.png" in outside
    assert flat.startswith("2 boxes of train without area")
    assert "002.png" in flat
    assert twice.startswith("1 box of train drawn twice")
    assert "003.png" in twice


def test_a_pixel_too_many_is_rounding_and_crowds_are_counted_apart(folder: Path) -> None:
    before = train_of(folder)
    add(folder, [40, 30, 56.4, 42.3])
    add(folder, [0, 0, 90, 70], [0, 0, 90, 70], iscrowd=1)
    after = train_of(folder)
    assert (after.objects, after.crowds) == (before.objects + 1, 2)
    assert (after.sticking_out, after.repeated) == ((), ())


def test_thin_boxes_are_noted(folder: Path) -> None:
    add(folder, [10, 10, 1, 40])
    assert "1 box of train with a side under 2 pixels, in 001.png." in DetectionTask.inspect(str(folder)).notes


def test_images_that_look_unlabelled_are_noted(folder: Path, tmp_path: Path) -> None:
    many = draw_coco_folder(tmp_path / "many", train=40)
    for image in range(101, 139):
        add(many, [1, 1, 9, 9], image=image, category=7)

    def only_discs(content: dict[str, Any]) -> None:
        kept = [row for row in content["annotations"] if row["image_id"] != 139]
        content["annotations"] = [*kept, {"image_id": 139, "category_id": 3, "bbox": [1, 1, 20, 20]}]

    edit(many, only_discs)
    report = DetectionTask.inspect(str(many))
    assert report.splits[0].without == {"square": ("039.png",)}
    forgotten = [note for note in report.notes if "forgotten" in note]
    assert forgotten[0].startswith("1 image of train without objects")
    assert "000.png" in forgotten[0]
    assert forgotten[1].startswith("1 image of train without square")
    assert "039.png" in forgotten[1]
    assert not [note for note in DetectionTask.inspect(str(folder)).notes if "forgotten" in note]
    edit(many, lambda content: content.update(annotations=[]))
    assert "No image of train shows an object." in DetectionTask.inspect(str(many)).harmful


def test_images_that_would_hurt_are_named(folder: Path) -> None:
    (folder / "train" / "004.png").write_bytes(b"")
    Image.new("RGB", (40, 40)).save(folder / "train" / "005.png")
    shutil.copy(folder / "train" / "001.png", folder / "val" / "002.png")
    broken, resized, leaked = DetectionTask.inspect(str(folder)).harmful
    assert "1 image of train cannot be read" in broken
    assert "004.png" in broken
    assert "005.png (40 x 40, not 96 x 72)" in resized
    assert "train: 001.png = val: 002.png" in leaked


def test_splits_that_do_not_go_together_are_named(folder: Path) -> None:
    edit(folder, lambda content: [row.update(category_id=7) for row in content["annotations"]])
    edit(folder, lambda content: [row.update(category_id=3) for row in content["annotations"]], "val")
    [unseen] = DetectionTask.inspect(str(folder)).harmful
    assert "1 class in val that train never shows: disc." in unseen
    edit(folder, lambda content: content["categories"].append({"id": 9, "name": "star"}))
    assert any("classes of train and val differ" in sentence for sentence in DetectionTask.inspect(str(folder)).harmful)


def test_a_split_that_cannot_be_opened_is_a_finding(folder: Path, tmp_path: Path) -> None:
    (folder / "annotations" / "val.json").write_text("{")
    report = DetectionTask.inspect(str(folder))
    assert [split.split for split in report.splits] == ["train"]
    assert "not intact JSON" in report.harmful[0]
    [nowhere] = DetectionTask.inspect(str(tmp_path / "nowhere")).harmful
    assert "nowhere" in nowhere


def test_the_command_shows_tables_and_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(folder, [5, 5, 0, 10])
    assert main(["doctor", str(folder), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["data"]["category_ids"] == [3, 7]
    assert found["data"]["splits"][0]["without_area"] == ["001.png"]
    assert any("without area" in sentence for sentence in found["harmful"])
    assert main(["doctor", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "layout COCO, 2 classes" in out
    assert [row for row in out.splitlines() if row.split()[:2] == ["7", "square"]]
    assert "- 1 box of train" in out
