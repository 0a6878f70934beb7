"""Every task keeps the contract, from data on disk to results and files; so does a task of the tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from coco_folder import draw_coco_folder
from mask_folder import draw_mask_folder
from sparsevision import Predictor, evaluate
from sparsevision.data.videos import Video, is_video_name
from sparsevision.errors import ConfigError, DataError
from sparsevision.files import OutputFolder
from sparsevision.tasks import TASKS, Task, inspect_dataset, open_dataset, task_named, task_of_data
from sparsevision.training import read_recipe, train
from sparsevision.training.recipe import recipe_class
from sparsevision.types import Preprocessing, Result, Table
from toys.registering import draw_class_folders, draw_squares, register_toys
from video_folder import draw_video_folder

TOYS = Path(__file__).parents[1] / "toys"


@dataclass(frozen=True)
class Example:
    """A task's data, drawn into a folder, and a recipe of a few steps."""

    task: str
    draw: Callable[[Path], Path]
    recipe: str
    values: dict[str, Any]
    view: Preprocessing
    # An option of the task's own, and one that it does not have.
    own: str
    foreign: str


SHORT = {"schedule.epochs": 1, "schedule.warmup_epochs": 0, "run.workers": 0, "run.precision": "fp32", "ema.decay": 0.0}
DETR = {
    "backbone": "test_efficientnet", "backbone_options": [], "encoder_depth": 1, "decoder_depth": 1, "ffn_width": 16,
    "num_queries": 4, "encoder_heads": "none",
}  # fmt: skip
FPN = {
    "backbone": "test_efficientnet", "backbone_options": [], "width": 16, "token_width": 32, "num_heads": 4,
    "groups": 4, "head_width": 16,
}  # fmt: skip
TOKENS = {
    "num_tokens": 6, "num_queries": 4, "num_points": 4, "feature_channels": 8, "focusing_width": 16,
    "focusing_repeats": 1, "cortex_width": 32, "cortex_depth": 2, "head_width": 8,
}  # fmt: skip
VIDEO = {
    "num_tokens": 4, "num_points": 4, "feature_channels": 8, "focusing_width": 16, "focusing_repeats": 1,
    "cortex_width": 32, "cortex_depth": 2, "head_width": 8, "inflation": 2, "temporal_offset_init": "spread",
}  # fmt: skip
BOXES = Example(
    task="detection",
    draw=draw_coco_folder,
    recipe="objects_nano",
    values={
        "model": {"name": "sparse_detr_nano", "config": DETR},
        "data.batch": 3,
        "transforms.short_sides": [48],
        "transforms.longest": 96,
        "transforms.crop": 0.0,
        "transforms.canvas": None,
        "transforms.evaluation.size": 48,
        "transforms.evaluation.longest": 96,
    },
    view=Preprocessing(size=(48, 96), fit="short"),
    own="transforms.crop_sides",
    foreign="transforms.mixup",
)
BY_TOKENS = {"model": {"name": "sparseformer_detector_nano", "config": TOKENS}}
EXAMPLES = {
    "classification": Example(
        task="classification",
        draw=draw_class_folders,
        recipe="folder_nano",
        values={
            "model": {
                "name": "vt_resnet18",
                "config": {"width": 8, "feature_width": 64, "token_width": 64, "num_heads": 4, "group_width": 16},
            },
            "data.batch": 4,
            "transforms.size": 32,
        },
        view=Preprocessing(size=(32, 32)),
        own="transforms.mixup",
        foreign="transforms.short_sides",
    ),
    "detection": BOXES,
    "detection by tokens": replace(BOXES, recipe="scenes_detector_nano", values={**BOXES.values, **BY_TOKENS}),
    "segmentation": Example(
        task="segmentation",
        draw=draw_mask_folder,
        recipe="masks_nano",
        values={
            "model": {"name": "vt_fpn_nano", "config": FPN},
            "data.batch": 3,
            "transforms.size": 64,
            "transforms.crop": [64, 64],
            "transforms.evaluation.size": 64,
        },
        view=Preprocessing(size=(64, 96), fit="short"),
        own="transforms.most_of_class",
        foreign="transforms.mixup",
    ),
    "video_classification": Example(
        task="video_classification",
        draw=draw_video_folder,
        recipe="videos_nano",
        values={
            "model": {"name": "video_sparseformer_nano", "config": VIDEO},
            "data.batch": 3,
            "transforms.size": 32,
            "transforms.frames": 4,
        },
        view=Preprocessing(size=(32, 32), frames=4),
        own="transforms.frames",
        foreign="transforms.most_of_class",
    ),
    "counting": Example(
        task="counting",
        draw=draw_squares,
        recipe=str(TOYS / "recipe.toml"),
        values={},
        view=Preprocessing(size=(32, 32), fit="stretch"),
        own="loss.power",
        foreign="loss.label_smoothing",
    ),
}


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    register_toys(monkeypatch)


@pytest.fixture(params=sorted(EXAMPLES))
def example(request: pytest.FixtureRequest) -> Example:
    return EXAMPLES[request.param]


@pytest.fixture
def name(example: Example) -> str:
    return example.task


@pytest.fixture
def data(example: Example, tmp_path: Path) -> Path:
    return example.draw(tmp_path / "data")


@pytest.fixture
def task(name: str, data: Path) -> Task:
    kind = task_named(name)
    train_set = kind.open(str(data), "train")
    return kind(train_set.classes, kind.metadata_of(train_set), labels=train_set.labels)


def test_every_registered_task_has_an_example() -> None:
    assert set(TASKS) == {example.task for example in EXAMPLES.values()}
    assert all(task_named(name).name == name for name in TASKS)


def first_image(given: Any) -> Image.Image:
    """An image as it is, or the first frame of a video."""
    if isinstance(given, Image.Image):
        return given
    if isinstance(given, str):
        return first_image(Video(given) if is_video_name(given) else Image.open(given))
    return Image.fromarray(given.read([0.0])[0])


def test_its_data_is_recognised_and_opened(name: str, data: Path) -> None:
    assert task_of_data(data) == name
    train_set, val_set = (open_dataset(data, split) for split in ("train", "val"))
    assert train_set.classes == val_set.classes
    assert len(train_set) > len(val_set) > 0
    assert train_set.fingerprint != val_set.fingerprint
    assert len(train_set.names) == len(train_set.labels) == len(train_set)
    assert first_image(train_set.read(0).image).mode == "RGB"
    assert train_set.content(0)
    with pytest.raises((DataError, ConfigError), match=r"\.$"):
        task_named(name).open(str(data / "nothing_here"), "train")


def test_its_data_is_inspected(data: Path) -> None:
    calls: list[tuple[int, int]] = []
    report = inspect_dataset(data, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1][0] == calls[-1][1] == len(open_dataset(data, "train")) + len(open_dataset(data, "val"))
    assert set(report.broken) >= {"train", "val"}
    assert all(isinstance(table, Table) for table in report.tables())
    json.dumps(report.to_dict(), default=str)


def test_both_transforms_give_samples_that_are_collated(task: Task, example: Example, data: Path) -> None:
    records = [open_dataset(data, "train").read(index) for index in range(3)]
    torch.manual_seed(0)
    for transform in (task.train_transform(), task.evaluation_transform(example.view)):
        samples = [transform(record) for record in records]
        shape = example.view.input_shape()
        assert all(sample.image.dtype == torch.float32 and sample.image.ndim == len(shape) for sample in samples)
        batch = task.collate(samples)
        assert batch.images.shape[:2] == (3, 3)
        assert batch.names == [record.name for record in records]
    assert all(sample.geometry is not None for sample in samples)
    assert len(task.collate([])) == 0
    blank = task.blank(example.view)
    assert blank.images.shape[0] == 1
    assert blank.names == [""]


def test_counts_add_up_over_batches(task: Task, example: Example, data: Path) -> None:
    dataset, transform = open_dataset(data, "train"), task.evaluation_transform(example.view)
    samples = [transform(dataset.read(index)) for index in range(4)]
    whole = task.count(task.collate(samples))
    parts = task.count(task.collate(samples[:1])) + task.count(task.collate(samples[1:]))
    assert torch.equal(whole, parts)


def test_two_steps_of_training_give_weights_that_score_and_predict(
    name: str, example: Example, data: Path, tmp_path: Path
) -> None:
    recipe = read_recipe(example.recipe).with_values({**SHORT, **example.values})
    summary = train(recipe, data=str(data), out=tmp_path / "run")
    assert summary.finished
    assert summary.best_score is not None
    assert summary.measure.label in str(summary)
    report, skipped = evaluate(tmp_path / "run", str(data))
    assert report.images == len(open_dataset(data, "val"))
    assert not skipped
    assert summary.best_score == pytest.approx(task_named(name).score(report), rel=1e-4, abs=1e-5)
    assert report.headline()
    assert all(value is None or isinstance(value, int | float) for value in report.scalars().values())
    assert all(isinstance(table, Table) and table.rows for table in report.tables())
    json.dumps(report.to_dict())
    _check_results(Predictor(tmp_path / "run" / "best", "cpu"), data, tmp_path)


def _check_results(predictor: Predictor, data: Path, tmp_path: Path) -> None:
    names = [str(path) for path in open_dataset(data, "val").names]
    paths = [path if Path(path).exists() else next(str(each) for each in data.rglob(Path(path).name)) for path in names]
    results = predictor(paths)
    columns = {tuple(result.cells()) for result in results}
    assert len(columns) == 1
    for result, path in zip(results, paths, strict=True):
        assert isinstance(result, Result)
        assert result.name == path
        assert result.classes == predictor.labels
        assert json.loads(json.dumps(result.to_dict()))["name"] == path
        assert path in str(result)
        image = first_image(path)
        assert min(result.annotate(image).size) >= 480
        assert result.annotate(image, least_side=0).size == image.size
    for option, entry in predictor.task.writers.items():
        path = tmp_path / option
        with entry.open(OutputFolder(path, "test") if entry.folder else path, predictor.task) as writer:
            list(writer.passing(results))
        assert len(list(path.iterdir())) >= len(results) if entry.folder else path.stat().st_size
    for option in predictor.task.options.values():
        with pytest.raises(ConfigError, match=option.name):
            predictor(paths[0], **{option.name: -1})


def test_an_option_of_another_task_is_refused_and_its_own_is_kept(name: str, example: Example) -> None:
    fields = recipe_class(name).model_fields
    section, field_name = example.own.split(".")
    assert field_name in fields[section].annotation.model_fields
    with pytest.raises(ConfigError, match=example.foreign) as refused:
        read_recipe(example.recipe, [f"{example.foreign}=0.1"])
    assert f"(task {name!r})" in str(refused.value)
    assert str(refused.value).count(". ") == 0
