"""What a recipe's [data] section makes of a data set."""

from __future__ import annotations

from pathlib import Path

from sparsevision.tasks import open_dataset
from sparsevision.tasks.classification.task import ClassificationTask
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
