"""Scenes of several digits: what is drawn is where the boxes say, and what is scored was never trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sparsevision.data.caching import CachedDataset
from sparsevision.data.dataset import Dataset
from sparsevision.data.layouts.digit_scenes import DigitScenes
from sparsevision.data.layouts.digits import Digits
from sparsevision.data.objects import Objects
from sparsevision.errors import ConfigError, DataError
from sparsevision.tasks import open_dataset, task_of_data
from sparsevision.tasks.detection.task import DetectionTask

Make = Callable[..., Path]


@pytest.fixture
def scenes(make_folder: Make) -> DigitScenes:
    options = {"length": 30, "size": 192, "digit_side": (20, 40)}
    return DigitScenes(open_dataset(make_folder(), "train"), Digits("train"), **options)


def corners(scenes: DigitScenes, index: int) -> np.ndarray:
    return scenes.objects(index).boxes * scenes.size


def test_a_scene_has_its_digits_where_the_boxes_say(scenes: DigitScenes) -> None:
    bare = DigitScenes(scenes.photographs, Digits("train"), length=30, size=192, digit_side=(20, 40))
    bare.digits.pixels = np.zeros_like(bare.digits.pixels)
    for index in range(8):
        record = scenes.read(index)
        assert record.image.size == (192, 192)
        assert isinstance(record.target, Objects)
        changed = np.asarray(record.image, float) - np.asarray(bare.read(index).image, float)
        strong = np.abs(changed).max(-1) > 100
        outside = strong.copy()
        for x0, y0, x1, y1 in record.target.boxes * 192:
            place = slice(int(y0), int(np.ceil(y1))), slice(int(x0), int(np.ceil(x1)))
            assert strong[place].any()
            assert max(x1 - x0, y1 - y0) >= 19
            outside[place] = False
        assert not outside.any()
        assert (record.target.boxes >= 0).all()
        assert (record.target.boxes <= 1).all()


def test_boxes_are_tight_around_strokes(scenes: DigitScenes) -> None:
    ones, zeros = ([] for _ in range(2))
    for index in range(30):
        found = scenes.objects(index)
        for label, (x0, y0, x1, y1) in zip(found.labels.tolist(), found.boxes, strict=True):
            if label in (0, 1):
                (zeros if label == 0 else ones).append((x1 - x0) / (y1 - y0))
    assert np.mean(ones) < np.mean(zeros) < 1


def test_digits_hardly_cover_each_other_and_are_as_many_as_was_said(scenes: DigitScenes) -> None:
    counts = set()
    for index in range(30):
        boxes = corners(scenes, index)
        counts.add(len(boxes))
        for place, one in enumerate(boxes):
            for other in boxes[:place]:
                sides = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
                smaller = min((box[2:] - box[:2]).prod() for box in (one, other))
                assert sides.prod() <= 0.1 * smaller + 1e-9
    assert min(counts) >= 3
    assert max(counts) <= 12
    assert len(counts) > 4


def test_a_scene_depends_on_seed_and_index_only(scenes: DigitScenes) -> None:
    def again(**options: int) -> DigitScenes:
        return DigitScenes(scenes.photographs, scenes.digits, **{"size": 192, "digit_side": (20, 40), **options})

    longer, other = again(length=60), again(length=30, seed=1)
    np.random.seed(3)
    assert longer.content(17) == scenes.content(17)
    assert other.content(17) != scenes.content(17)
    assert scenes.labels[17] in scenes.objects(17).labels
    assert len({scenes.fingerprint, longer.fingerprint, other.fingerprint}) == 3


@pytest.mark.slow
def test_splits_share_neither_digits_nor_photographs(make_folder: Make) -> None:
    spec = f"digit-scenes:{make_folder(per_class=20)}"
    opened = {split: DetectionTask.open(spec, split, cache=1) for split in ("train", "val", "test")}
    seen: dict[str, tuple[set[bytes], set[bytes]]] = {}
    for split, scenes in opened.items():
        assert isinstance(scenes, DigitScenes)
        assert isinstance(scenes.photographs, CachedDataset)
        assert isinstance(scenes, Dataset)
        assert scenes.read(0).image.size == (384, 384)
        seen[split] = (
            {scenes.photographs.content(int(place)) for place in scenes._photograph},
            {scenes.digits.content(one.digit) for index in range(40) for one in scenes._layout(index)},
        )
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        for kind in (0, 1):
            assert not seen[one][kind] & seen[other][kind]
    assert opened["val"].category_ids == tuple(range(10))


def test_what_makes_no_scene_is_a_sentence(make_folder: Make, tmp_path: Path) -> None:
    photographs = open_dataset(make_folder(), "train")
    for options in ({"digit_side": (20, 400)}, {"count": (0, 3)}, {"length": 0}, {"share": slice(10**6, None)}):
        with pytest.raises(ConfigError):
            DigitScenes(photographs, Digits("val"), **options)
    with pytest.raises(DataError, match="nowhere does not exist"):
        DetectionTask.open(f"digit-scenes:{tmp_path / 'nowhere'}")
    assert task_of_data("digit-scenes:anything") == "detection"
    assert task_of_data(make_folder("others")) == "classification"
