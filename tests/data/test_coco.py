"""COCO's json: what is read, what is mended, what is refused; and what training makes of images with boxes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from coco_folder import draw_coco_folder
from sparsevision.data.dataset import Record
from sparsevision.data.layouts.coco import recognises
from sparsevision.data.objects import Objects
from sparsevision.data.preprocessing import short_side_size
from sparsevision.errors import ConfigError, DataError, UnreadableImageError
from sparsevision.tasks.detection.task import DetectionTask
from sparsevision.tasks.detection.transforms import (
    DetectionTransforms,
    DetectionView,
    evaluation_transform,
    train_transform,
)
from sparsevision.types import Preprocessing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return draw_coco_folder(tmp_path / "shapes")


def edited(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    path = folder / "annotations" / "train.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return folder


def test_ids_with_holes_become_classes_and_lead_back(folder: Path) -> None:
    data = DetectionTask.open(folder)
    assert data.classes == ("disc", "square")
    assert data.category_ids == (3, 7)
    assert len(data) == 6
    assert len(data.objects(0)) == 0
    assert data.labels[0] == -1
    record = data.read(1)
    assert record.image.size == (96, 72)
    first = json.loads((folder / "annotations" / "train.json").read_text())["annotations"][0]
    x, y, width, height = first["bbox"]
    np.testing.assert_allclose(record.target.boxes[0] * [96, 72, 96, 72], [x, y, x + width, y + height])
    assert data.category_ids[record.target.labels[0]] == first["category_id"]
    assert recognises(str(folder))
    assert not recognises(str(folder / "train"))


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("annotations/instances_train2017.json", "train2017"),
        ("train/_annotations.coco.json", "train"),
        ("annotations/train.json", "images/train"),
    ],
)
def test_the_usual_layouts_are_found(folder: Path, annotations: str, images: str) -> None:
    (folder / images).parent.mkdir(exist_ok=True)
    (folder / "train").rename(folder / images)
    (folder / annotations).parent.mkdir(exist_ok=True)
    (folder / "annotations" / "train.json").rename(folder / annotations)
    assert DetectionTask.open(folder).read(2).image.size == (96, 72)


def test_boxes_are_clipped_and_those_without_area_left_out(folder: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        common = {"image_id": 100, "category_id": 3}
        content["annotations"] = [
            {"id": 1, **common, "bbox": [-10, -10, 30, 30], "area": 900},
            {"id": 2, **common, "bbox": [5, 5, 0, 10], "area": 0},
            {"id": 3, **common, "bbox": [200, 5, 10, 10], "area": 100},
            {"id": 4, **common, "bbox": [80, 60, 50, 50], "iscrowd": 1},
        ]

    data = DetectionTask.open(edited(folder, change))
    found = data.objects(0)
    np.testing.assert_allclose(found.boxes * [96, 72, 96, 72], [[0, 0, 20, 20], [80, 60, 96, 72]])
    assert data.without_area == [0, 0]
    assert found.crowds.tolist() == [False, True]
    assert found.areas[0] == pytest.approx(900 / (96 * 72))


def _of(key: str, row: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content[key][row].update(values)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_of("annotations", 0, category_id=5), "a category 5 that the file does not list"),
        (_of("annotations", 0, image_id=5), "an image 5 that the file does not list"),
        (_of("annotations", 0, bbox=[1, 2, 3]), "not four numbers"),
        (_of("annotations", 0, bbox=[1, 2, float("nan"), 4]), "not finite"),
        (_of("annotations", 0, bbox="all"), "not four numbers"),
        (_of("categories", 0, name="disc"), "'disc' twice"),
        (_of("categories", 0, id="seven"), "not a whole number"),
        (_of("images", 0, width=0), "a size of 0"),
        (lambda content: content.pop("images"), "no list 'images'"),
        (lambda content: content.update(images=[]), "no images"),
        (lambda content: content["annotations"][0].pop("bbox"), "no 'bbox'"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(folder: Path, change: Callable[[dict[str, Any]], None], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        DetectionTask.open(edited(folder, change))
    assert "\n" not in str(caught.value)


def test_a_missing_folder_json_split_or_image_is_a_sentence(folder: Path) -> None:
    for root, split, said in ((folder / "no", "train", "does not exist"), (folder, "test", "no split 'test'")):
        with pytest.raises(DataError, match=said):
            DetectionTask.open(root, split)
    (folder / "train" / "001.png").unlink()
    with pytest.raises(UnreadableImageError):
        DetectionTask.open(folder).read(1)
    (folder / "annotations" / "train.json").write_text("{")
    with pytest.raises(DataError, match="not intact JSON"):
        DetectionTask.open(folder)


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [
        ((480, 640), 800, (800, 1066)), ((427, 640), 800, (800, 1199)), ((576, 1024), 800, (750, 1333)),
        ((400, 1200), 800, (444, 1332)), ((500, 333), 800, (1201, 800)), ((427, 640), 480, (480, 719)),
        ((500, 333), 480, (720, 480)),
    ],
)  # fmt: skip
def test_the_short_side_goes_by_the_released_rule(size: tuple[int, int], short: int, expected: tuple[int, int]) -> None:
    assert short_side_size(*size, short, 1333) == expected


def _record(boxes: list[list[float]]) -> Record:
    """An image that is white inside of the first box and black elsewhere."""
    pixels = np.zeros((200, 300, 3), np.uint8)
    x0, y0, x1, y1 = boxes[0]
    pixels[round(y0 * 200) : round(y1 * 200), round(x0 * 300) : round(x1 * 300)] = 255
    count = len(boxes)
    objects = Objects(np.array(boxes), np.arange(count), np.full(count, 0.01), np.zeros(count, bool))
    return Record(Image.fromarray(pixels), objects, "white", (200, 300))


@pytest.mark.parametrize("multiple", [1, 32])
@pytest.mark.parametrize("seed", range(12))
def test_boxes_stay_on_what_they_frame(seed: int, multiple: int) -> None:
    torch.manual_seed(seed)
    settings = DetectionTransforms(
        short_sides=(100, 160), longest=300, crop=0.7, crop_from=(200,), crop_sides=(120, 200), mean=(0, 0, 0),
        std=(1, 1, 1), multiple=multiple,
    )  # fmt: skip
    sample = train_transform(settings)(_record([[0.4, 0.3, 0.6, 0.7], [0.0, 0.0, 0.05, 0.05]]))
    image, target = sample.image, sample.target
    _, height, width = image.shape
    assert min(height, width) in ((100, 160) if multiple == 1 else (96, 160)) or max(height, width) <= 300
    assert height % multiple == width % multiple == 0
    assert (target["boxes"] >= 0).all()
    assert (target["boxes"] <= 1).all()
    for label, (x, y, w, h) in zip(target["labels"].tolist(), target["boxes"].tolist(), strict=True):
        if label == 0:
            ys, xs = torch.where(image[0] > 0.5)
            seen = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]
            framed = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
            np.testing.assert_allclose(framed, seen, atol=1.6)


def test_crowds_are_not_taught_but_known_when_scoring() -> None:
    record = _record([[0.4, 0.3, 0.6, 0.7], [0.1, 0.1, 0.9, 0.9]])
    record.target.crowds[1] = True
    assert train_transform(DetectionTransforms(crop=0))(record).target["labels"].tolist() == [0]
    scored = evaluation_transform(Preprocessing(size=(100, 120), fit="short"))(record)
    assert tuple(scored.image.shape) == (3, 80, 120)
    assert scored.target["crowds"].tolist() == [False, True]
    assert scored.geometry is not None
    assert scored.geometry.original_size == (200, 300)


@pytest.mark.parametrize("seed", range(4))
def test_a_canvas_keeps_boxes_on_what_they_frame_and_fills_with_grey(seed: int) -> None:
    torch.manual_seed(seed)
    seen = DetectionView(size=96)
    settings = DetectionTransforms(short_sides=(60, 160), longest=300, crop=0, canvas=(96, 128), evaluation=seen)
    sample = train_transform(settings)(_record([[0.4, 0.3, 0.6, 0.7]]))
    assert sample.image.shape == (3, 96, 128)
    ys, xs = torch.where(sample.image[0] > 1.0)
    seen = torch.tensor([xs.min() / 128, ys.min() / 96, (xs.max() + 1) / 128, (ys.max() + 1) / 96])
    [(x, y, w, h)] = sample.target["boxes"].tolist()
    torch.testing.assert_close(torch.tensor([x - w / 2, y - h / 2, x + w / 2, y + h / 2]), seen, atol=0.02, rtol=0)
    upright = train_transform(settings)(Record(Image.new("RGB", (100, 300)), _record([[0, 0, 1, 1]]).target, "tall"))
    assert upright.image.shape == (3, 128, 96)
    lacking = sample.image[0].abs() < 0.01
    assert lacking.float().mean() == pytest.approx(1 - 60 * 90 / (96 * 128) if lacking.any() else 0, abs=0.01)


def test_views_of_training_and_of_scoring_share_their_multiple() -> None:
    settings = DetectionTransforms(short_sides=(96,), longest=300, crop=0, multiple=32)
    record = _record([[0.4, 0.3, 0.6, 0.7]])
    shapes = [
        transform(record).image.shape
        for transform in (train_transform(settings), evaluation_transform(settings.preprocessing()))
    ]
    assert shapes == [(3, 96, 128)] * 2  # 96 x 144 before, and 4.5 is rounded to 4


@pytest.mark.parametrize("size", [(1, 1), (4000, 1), (1, 4000), (2, 3)])
def test_no_shape_is_too_odd(size: tuple[int, int]) -> None:
    objects = Objects(np.array([[0.0, 0.0, 1.0, 1.0]]), np.zeros(1, np.int64), np.ones(1), np.zeros(1, bool))
    record = Record(Image.new("RGB", size, "red"), objects, "odd", size[::-1])
    for crop in (0.0, 1.0):
        torch.manual_seed(0)
        settings = DetectionTransforms(
            short_sides=(100,), longest=300, crop=crop, crop_from=(200,), crop_sides=(120, 200), color_jitter=0.1
        )
        sample = train_transform(settings)(record)
        assert min(sample.image.shape) >= 1
        assert torch.isfinite(sample.image).all()
        assert ((sample.target["boxes"] >= 0) & (sample.target["boxes"] <= 1)).all()


def test_settings_and_images_that_make_no_sense_are_sentences() -> None:
    for options in (
        {"flip": 2.0},
        {"short_sides": ()},
        {"longest": 10},
        {"crop_sides": (700, 800)},
        {"canvas": (9, 8)},
        {"canvas": (320, 320), "evaluation": {"size": 448}},
        {"canvas": (300, 400), "evaluation": {"size": 300}, "multiple": 32},
    ):
        with pytest.raises(ValidationError):
            DetectionTransforms(**options)
    with pytest.raises(ConfigError, match="whole images"):
        evaluation_transform(Preprocessing())
