"""Options of a recipe: each one of a task's own tables changes what comes out, and those of [data] serve every task."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel
from torch import Tensor

from sparsevision.data.caching import CachedDataset
from sparsevision.data.dataset import Record
from sparsevision.data.objects import Objects
from sparsevision.data.videos import VideoInfo
from sparsevision.outputs import DetectionHead, DetectionOutput, SegmentationHead, SegmentationOutput
from sparsevision.tasks import TASKS, task_named
from sparsevision.training import build, read_recipe
from sparsevision.training.loaders import ImageLoaders
from sparsevision.training.recipe import Recipe
from sparsevision.training.run import make_parts
from sparsevision.types import Batch, Sample
from video_folder import write_video

CLASSES = ("ant", "bee", "cat")
# (option, a value other than the base's, options that it needs, what it changes)
Row = tuple[str, Any, dict[str, Any], set[str]]
TRAIN, EVALUATION, LOSS, LATE = {"train"}, {"evaluation"}, {"loss"}, {"late"}
BOTH = TRAIN | EVALUATION
SHARED: list[Row] = [
    ("transforms.flip", 1.0, {}, TRAIN),
    ("transforms.color_jitter", 0.5, {}, TRAIN),
    ("transforms.mean", [0.1, 0.2, 0.3], {}, BOTH),
    ("transforms.std", [0.1, 0.2, 0.3], {}, BOTH),
    ("transforms.evaluation.size", 20, {}, EVALUATION),
    ("transforms.evaluation.fit", "stretch", {}, EVALUATION),
]
# Of one label an image or a video.
LABELLED: list[Row] = [
    ("transforms.crop_scale", [0.1, 0.2], {}, TRAIN),
    ("transforms.crop_ratio", [1.0, 1.0], {}, TRAIN),
    ("transforms.erasing", 1.0, {}, TRAIN),
    ("transforms.mixup", 1.0, {}, TRAIN),
    ("transforms.cutmix", 1.0, {}, TRAIN),
    ("transforms.mix_probability", 0.0, {"transforms.mixup": 1.0}, TRAIN),
    ("transforms.mix_switch", 1.0, {"transforms.mixup": 1.0, "transforms.cutmix": 1.0,
                                    "transforms.mix_switch": 0.0}, TRAIN),
    ("transforms.evaluation.crop_fraction", 0.5, {}, EVALUATION),
    ("transforms.evaluation.interpolation", "bilinear", {}, EVALUATION),
    ("loss.label_smoothing", 0.3, {"loss.label_smoothing": 0.0}, LOSS),
    ("loss.class_weights", "balanced", {"loss.class_weights": "none"}, LOSS),
]  # fmt: skip
BASES: dict[str, dict[str, Any]] = {
    "classification": {
        "transforms.size": 24, "transforms.crop_scale": [0.8, 1.0], "transforms.flip": 0.0,
        "transforms.rand_augment": None, "transforms.auto_augment": None, "transforms.color_jitter": 0.0,
        "transforms.erasing": 0.0, "transforms.mixup": 0.0, "transforms.cutmix": 0.0, "data.decode_side": None,
        "transforms.interpolation": "bicubic", "transforms.evaluation.interpolation": "bicubic",
        "transforms.evaluation.fit": "crop",
    },
    "detection": {
        "transforms.short_sides": [24], "transforms.longest": 80, "transforms.crop": 1.0,
        "transforms.crop_from": [40], "transforms.crop_sides": [20, 30], "transforms.flip": 0.0,
        "transforms.color_jitter": 0.0, "transforms.evaluation.longest": 80, "transforms.evaluation.size": 24,
        "transforms.multiple": 1, "transforms.canvas": None,
    },
    "segmentation": {
        "transforms.size": 40, "transforms.scale": [1.0, 1.1], "transforms.crop": [24, 20],
        "transforms.most_of_class": 1.0, "transforms.flip": 0.0, "transforms.color_jitter": 0.0,
        "transforms.evaluation.size": 24, "transforms.evaluation.longest": 80,
    },
    "video_classification": {
        "transforms.size": 24, "transforms.crop_scale": [0.8, 1.0], "transforms.flip": 0.0, "transforms.frames": 4,
        "transforms.rand_augment": 0, "transforms.color_jitter": 0.0, "transforms.erasing": 0.0,
        "transforms.evaluation.size": 24, "transforms.clip_seconds": None, "transforms.frame_stride": None,
        "transforms.mixup": 0.0, "transforms.cutmix": 0.0,
    },
}  # fmt: skip
OWN: dict[str, list[Row]] = {
    "classification": [
        *LABELLED,
        ("transforms.size", 20, {}, BOTH),
        ("transforms.interpolation", "bilinear", {}, TRAIN),
        ("transforms.rand_augment", "rand-m9-p1.0", {}, TRAIN),
        ("transforms.auto_augment", "v0", {}, TRAIN),
        ("transforms.erasing_mode", "constant", {"transforms.erasing": 1.0}, TRAIN),
    ],
    "detection": [
        ("transforms.vertical_flip", 1.0, {}, TRAIN),
        ("transforms.crop", 0.0, {}, TRAIN),
        ("transforms.crop_from", [60], {}, TRAIN),
        ("transforms.crop_sides", [36, 38], {}, TRAIN),
        ("transforms.short_sides", [16], {}, TRAIN),
        ("transforms.short_sides", [16], {"transforms.evaluation.size": None}, BOTH),
        ("transforms.longest", 30, {"transforms.crop": 0.0}, TRAIN),
        ("transforms.multiple", 7, {}, BOTH),
        ("transforms.canvas", [24, 40], {}, TRAIN),
        ("transforms.evaluation.longest", 30, {}, EVALUATION),
        ("transforms.evaluation.interpolation", "bicubic", {}, EVALUATION),
        ("loss.classes", 7.0, {}, LOSS),
        ("loss.l1", 7.0, {}, LOSS),
        ("loss.giou", 7.0, {}, LOSS),
        ("loss.class_target", "iou", {}, LOSS),
        ("transforms.plain_epochs", 1, {"transforms.crop": 1.0}, LATE),
    ],
    "segmentation": [
        ("transforms.size", 30, {}, TRAIN),
        ("transforms.scale", [0.5, 0.6], {}, TRAIN),
        ("transforms.crop", [20, 16], {}, TRAIN),
        ("transforms.most_of_class", 0.34, {}, TRAIN),
        ("transforms.vertical_flip", 1.0, {}, TRAIN),
        ("transforms.evaluation.longest", 30, {}, EVALUATION),
        ("transforms.evaluation.interpolation", "bicubic", {}, EVALUATION),
        ("loss.cross_entropy", 7.0, {}, LOSS),
        ("loss.dice", 7.0, {}, LOSS),
        ("loss.auxiliary", 7.0, {}, LOSS),
        ("loss.class_weights", [1.0, 2.0, 3.0], {}, LOSS),
        ("loss.hardest", 0.5, {}, LOSS),
    ],
    "video_classification": [
        *LABELLED,
        ("transforms.size", 20, {}, TRAIN),
        ("transforms.size", 20, {"transforms.evaluation.size": None}, BOTH),
        ("transforms.frames", 2, {}, BOTH),
        ("transforms.frame_stride", 1, {}, BOTH),
        ("transforms.clip_seconds", 0.5, {}, BOTH),
        ("transforms.interpolation", "bicubic", {}, TRAIN),
        ("transforms.rand_augment", 9, {}, TRAIN),
        ("transforms.evaluation.clips", 2, {}, EVALUATION),
        ("transforms.evaluation.crops", 3, {}, EVALUATION),
    ],
}  # fmt: skip
CASES = [(task, row) for task, rows in OWN.items() for row in (*SHARED, *rows)]


def recipe_of(task: str, values: dict[str, Any]) -> Recipe:
    return read_recipe(task_named(task).recipe).with_values({**BASES[task], **values})


class Still:
    """An image as a video of 2 seconds, which grows brighter."""

    def __init__(self, image: Image.Image) -> None:
        self.image = np.asarray(image)
        self.info = VideoInfo(duration=2.0, rate=8.0, frames=16, size=self.image.shape[:2])

    def read(self, times: Sequence[float], *, side: int | None = None) -> NDArray[np.uint8]:
        return np.stack([(self.image * (0.4 + 0.25 * min(time, 2.0))).astype(np.uint8) for time in times])


def records(task: str) -> list[Record]:
    """Six images of two sizes with sharp edges, and what is on them."""
    draws, found = np.random.default_rng(0), []
    for number in range(6):
        blocks = Image.fromarray(draws.integers(0, 256, (7, 9, 3), dtype=np.uint8))
        image = blocks.resize((90, 60) if number % 2 else (50, 70), Image.Resampling.NEAREST)
        corners = np.sort(draws.uniform(size=(3, 2, 2)), axis=1).reshape(3, 4)
        objects = Objects(corners, draws.integers(0, 3, 3), np.full(3, 0.1), np.zeros(3, bool))
        mask = np.asarray(blocks)[..., 0] % 3
        mask = np.array(Image.fromarray(mask).resize(image.size, Image.Resampling.NEAREST))
        label = number % 3
        target = {"detection": objects, "segmentation": mask}.get(task, label)
        shown = Still(image) if task == "video_classification" else image
        found.append(Record(shown, target, f"{number}.png", (image.height, image.width)))
    return found


def tensors_of(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    values = value.values() if isinstance(value, dict) else value
    return [tensor for each in values for tensor in tensors_of(each)]


def loss_of(task: str, settings: Any) -> list[Tensor]:
    """The loss of fixed outputs for fixed targets."""
    kind, draw = task_named(task), torch.Generator().manual_seed(0)
    made = kind(CLASSES, settings=settings, labels=[0, 0, 0, 1, 2])
    logits, boxes = torch.randn(2, 5, 3, generator=draw), 0.2 + 0.3 * torch.rand(2, 5, 4, generator=draw)
    targets: list[Any] = [0, 2]
    output: Any = logits[:, 0]
    if task == "detection":
        output = DetectionOutput((DetectionHead("decoder", logits, boxes),))
        targets = [{"labels": torch.tensor([label]), "boxes": torch.tensor([[0.4, 0.5, 0.2, 0.3]])} for label in (0, 2)]
    elif task == "segmentation":
        maps = logits[..., None].expand(2, 5, 3, 4).transpose(1, 2)
        output = SegmentationOutput((SegmentationHead("main", maps, 2), SegmentationHead("early", maps * 2, 2)))
        targets = list(torch.randint(0, 3, (2, 10, 8), generator=draw))
    batch = made.collate([Sample(torch.zeros(3, 8, 8), each, str(n), n) for n, each in enumerate(targets)])
    return tensors_of(made.loss(output, batch, made.count(batch)))


def outcome(recipe: Recipe) -> dict[str, list[Tensor]]:
    """All that the task makes of a recipe's tables: training batches, the view outside training, the loss."""
    task = recipe.task_class(CLASSES, settings=recipe.settings, labels=[0, 0, 0, 1, 2])
    train, view = task.train_transform(), task.evaluation_transform(recipe.preprocessing)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    samples = [train(record) for record in records(recipe.task) for _ in range(3)]
    batch: Batch = task.train_collate()(samples)
    late = task.late_transform(1)
    return {
        "train": [batch.images.float(), *tensors_of(batch.targets)],
        "late": [] if late is None else [late(record).image for record in records(recipe.task)],
        "evaluation": [view(record).image for record in records(recipe.task)],
        "loss": loss_of(recipe.task, recipe.settings),
    }


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(*pair) for pair in zip(one, other, strict=True))


@pytest.mark.parametrize(("task", "row"), CASES, ids=[f"{task}-{row[0]}" for task, row in CASES])
def test_every_option_changes_what_it_names_and_nothing_else(task: str, row: Row) -> None:
    option, value, needed, expected = row
    before, after = (outcome(recipe_of(task, values)) for values in (needed, {**needed, option: value}))
    assert {part for part in before if not equal(before[part], after[part])} == expected


@pytest.mark.parametrize("task", OWN)
def test_no_option_of_a_task_is_left_out_here(task: str) -> None:
    def names(section: type[BaseModel], prefix: str) -> set[str]:
        found = set()
        for name, field in section.model_fields.items():
            inner = field.annotation
            nested = isinstance(inner, type) and issubclass(inner, BaseModel)
            found |= names(inner, f"{prefix}{name}.") if nested else {f"{prefix}{name}"}
        return found

    assert set(OWN) == set(TASKS)
    assert names(task_named(task).Settings, "") == {row[0] for row in (*SHARED, *OWN[task])}


WHOLE = {
    "classification": {
        "transforms.size": 60, "transforms.crop_scale": [1.0, 1.0], "transforms.crop_ratio": [1.0, 1.0],
    },
    "detection": {"transforms.crop": 0.0, "transforms.short_sides": [60]},
    "segmentation": {"transforms.size": 60, "transforms.scale": [1.0, 1.0], "transforms.crop": [60, 60]},
    "video_classification": {
        "transforms.size": 60, "transforms.crop_scale": [1.0, 1.0], "transforms.crop_ratio": [1.0, 1.0],
    },
}  # fmt: skip


@pytest.mark.parametrize("task", WHOLE)
def test_a_mirrored_image_keeps_its_target(task: str) -> None:
    found, first = [], records(task)[1]
    video = task == "video_classification"
    square = (Image.fromarray(first.image.image) if video else first.image).crop((0, 0, 60, 60))
    record = Record(Still(square) if video else square, first.target, "square", (60, 60))
    for flip in (0.0, 1.0):
        recipe = recipe_of(task, {**WHOLE[task], "transforms.flip": flip})
        found.append(recipe.task_class(CLASSES, settings=recipe.settings).train_transform()(record))
    plain, mirrored = found
    assert torch.equal(mirrored.image, plain.image.flip(-1))
    if task == "detection":
        expected = plain.target["boxes"] * torch.tensor([-1.0, 1, 1, 1]) + torch.tensor([1.0, 0, 0, 0])
        torch.testing.assert_close(mirrored.target["boxes"], expected)
    if task == "segmentation":
        assert torch.equal(mirrored.target, plain.target.flip(-1))
        return
    labels = [each.target["labels"].tolist() if task == "detection" else each.target for each in found]
    assert labels[0] == labels[1]


# ------------------------------------------------------------------------------------------------------ [data]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same 12 + 4 photographs for each task: class folders, COCO's json, masks, and films that stand still."""
    place, draws = tmp_path_factory.mktemp("large"), np.random.default_rng(0)
    (place / "boxes" / "annotations").mkdir(parents=True)
    for split, count in (("train", 12), ("val", 4)):
        rows, boxes = [], []
        (place / "boxes" / split).mkdir()
        for number in range(count):
            label, name = number % 2, f"{split}{number:02}.jpg"
            image = Image.fromarray(draws.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((400, 320))
            (place / "classes" / split / CLASSES[label]).mkdir(parents=True, exist_ok=True)
            image.save(place / "classes" / split / CLASSES[label] / name)
            film = place / "videos" / split / CLASSES[label] / f"{Path(name).stem}.mp4"
            write_video(film, np.asarray(image)[None].repeat(2, 0))
            image.save(place / "boxes" / split / name)
            for kind, shown in (("images", image), ("labels", Image.new("L", image.size, label))):
                (place / "masks" / split / kind).mkdir(parents=True, exist_ok=True)
                shown.save(place / "masks" / split / kind / (name if kind == "images" else f"{Path(name).stem}.png"))
            rows.append({"id": number, "file_name": name, "width": 400, "height": 320})
            boxes.append({"id": number, "image_id": number, "category_id": label, "bbox": [40, 40, 120, 80]})
        categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES[:2])]
        content = {"images": rows, "annotations": boxes, "categories": categories}
        (place / "boxes" / "annotations" / f"{split}.json").write_text(json.dumps(content))
    (place / "masks" / "classes.txt").write_text("\n".join(CLASSES))
    return {
        "classification": place / "classes", "detection": place / "boxes", "segmentation": place / "masks",
        "video_classification": place / "videos",
    }  # fmt: skip


@pytest.fixture(params=sorted(OWN))
def loaders_of(request: pytest.FixtureRequest, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the batches of a run by options of [data], without its network."""
    monkeypatch.setattr(build, "make_model", lambda *given: torch.nn.Identity())
    process = SimpleNamespace(process_index=0, num_processes=1)

    def make(**options: Any) -> ImageLoaders:
        named = {f"data.{name}": value for name, value in options.items()}
        fixed = {"data.spec": str(folders[request.param]), "data.batch": 4, "transforms.evaluation.fit": "stretch"}
        recipe = recipe_of(request.param, {**fixed, "data.cache_mebibytes": 0, "run.workers": 0, **named})
        found = make_parts(recipe, process).loaders
        assert isinstance(found, ImageLoaders)
        return found

    return make


def named(names: Any) -> set[str]:
    return {Path(str(name)).stem for name in names}


def decoded_size(dataset: Any) -> tuple[int, int]:
    """(height, width) of the first image, or of the frames of the first video, as it is decoded."""
    image = dataset.read(0).image
    return image.read([0.0]).shape[1:3] if hasattr(image, "read") else (image.height, image.width)


def test_a_share_of_train_is_held_out_for_every_task(loaders_of: Any) -> None:
    usual, first, second = loaders_of(), loaders_of(held_out=0.3), loaders_of(held_out=0.3, split_seed=1)
    assert (len(usual.train_set), len(usual.val_set)) == (12, 4)
    assert named(usual.val_set.names) == {f"val{number:02}" for number in range(4)}
    for one in (first, second):
        assert 2 <= len(one.val_set) <= 6
        assert named(one.val_set.names) | named(one.train_set.names) == named(usual.train_set.names)
        assert not named(one.val_set.names) & named(one.train_set.names)
        assert sorted(set(one.val_set.labels)) in ([0, 1], [-1])  # masks have no class of their own
        assert one.val_set.read(0).name
    assert named(first.val_set.names) != named(second.val_set.names)
    assert len({one.fingerprint for one in (usual, first, second)}) == 3


def test_large_images_are_decoded_smaller_for_training_alone(loaders_of: Any) -> None:
    plain, reduced = loaders_of(), loaders_of(decode_side=80)
    assert decoded_size(plain.train_set) == (320, 400)
    assert decoded_size(reduced.train_set) == (80, 100)
    assert reduced.train_set.read(0).original_size in ((320, 400), None)  # a video tells it itself
    assert decoded_size(reduced.val_set) == decoded_size(plain.val_set)


def test_images_are_cached_where_memory_is_given(loaders_of: Any) -> None:
    assert not isinstance(loaders_of().train_set, CachedDataset)
    loaders = loaders_of(cache_mebibytes=8)
    for dataset in (loaders.train_set, loaders.val_set):
        assert isinstance(dataset, CachedDataset)
        dataset.fill()
        assert dataset.used > 0
        assert dataset.read(0).image is not dataset.dataset.read(0).image
        assert decoded_size(dataset) == decoded_size(dataset.dataset)
        assert dataset.names


def test_batches_repeats_and_order_go_by_the_recipe(loaders_of: Any) -> None:
    def plan(loader: Any) -> list[list[int]]:
        return [[index for _, _, index in loader.plan.batch(number)] for number in range(loader.plan.batches)]

    assert [len(batch) for batch in plan(loaders_of(batch=6).train(0))] == [6, 6]
    assert [len(batch) for batch in plan(loaders_of().scored())] == [4]
    assert [len(batch) for batch in plan(loaders_of(evaluation_batch=3).scored())] == [3, 1]
    ordered, shuffled = ([*chain(*plan(loaders_of(shuffle=shuffle).train(0)))] for shuffle in (False, True))
    assert ordered == sorted(shuffled) == list(range(12)) != shuffled
    assert all(batch[0] == batch[1] and batch[2] == batch[3] for batch in plan(loaders_of(repeats=2).train(0)))
