"""What a recipe's [data] section makes of a data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from coco_folder import draw_coco_folder
from sparsevision.tasks import open_dataset
from sparsevision.tasks.classification.task import ClassificationTask
from sparsevision.tasks.detection.task import DetectionTask
from sparsevision.training import read_recipe
from sparsevision.training.loaders import ImageLoaders


def order(photographs: Path, *, shuffle: bool) -> list[int]:
    recipe = read_recipe("folder_nano").with_values({"data.batch": 4, "data.shuffle": shuffle})
    train, val = (open_dataset(photographs / "my_images", split) for split in ("train", "val"))
    task = ClassificationTask(train.classes, settings=recipe.settings)
    plan = ImageLoaders(recipe=recipe, train_set=train, val_set=val, task=task).train(0).plan
    return [index for number in range(plan.batches) for _, _, index in plan.batch(number)]


def test_a_lesson_is_learned_in_its_order_and_anything_else_shuffled(photographs: Path) -> None:
    lesson, shuffled = order(photographs, shuffle=False), order(photographs, shuffle=True)
    assert lesson == sorted(lesson)
    assert shuffled != sorted(shuffled)


def test_the_last_epochs_of_a_detector_are_without_crops_and_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = draw_coco_folder(tmp_path / "data")
    recipe = read_recipe("bccd_nano").with_values(
        {
            "data.batch": 2,
            "schedule.epochs": 5,
            "run.workers": 0,
            "transforms.plain_epochs": 2,
            "transforms.crop": 0.5,
            "transforms.canvas": None,
        }
    )
    train, val = (open_dataset(folder, split) for split in ("train", "val"))
    task = DetectionTask(train.classes, settings=recipe.settings)
    late: list[int] = []
    plain = task.late_transform
    monkeypatch.setattr(task, "late_transform", lambda left: late.append(left) or plain(left))
    loaders = ImageLoaders(recipe=recipe, train_set=train, val_set=val, task=task)
    for epoch in range(5):
        loaders.train(epoch)
    assert late == [5, 4, 3, 2, 1]
    assert [plain(left) is not None for left in late] == [False, False, False, True, True]
    kinds = {left: repr(task.late_transform(left) or task.train_transform()) for left in (3, 2)}
    assert "ColorJitter" in kinds[3]
    assert "RandomSizeCrop" in kinds[3]
    assert "ColorJitter" not in kinds[2]
    assert "RandomSizeCrop" not in kinds[2]
