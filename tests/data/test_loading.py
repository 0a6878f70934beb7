"""Batches depend on seed, epoch and position: on no worker, no start and no start method."""

from __future__ import annotations

import pickle
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsevision.data.loading import Loader, make_loader
from sparsevision.data.objects import Objects
from sparsevision.data.preprocessing import EvaluationTransform
from sparsevision.data.sampling import EpochPlan
from sparsevision.errors import ConfigError, DataError
from sparsevision.tasks import open_dataset
from sparsevision.tasks.classification.task import ClassificationTask
from sparsevision.tasks.classification.transforms import ClassificationTransforms, train_transform
from sparsevision.tasks.detection.transforms import DetectionTransforms
from sparsevision.tasks.detection.transforms import train_transform as detection_transform
from sparsevision.tasks.labels.mixing import MixedCollate
from sparsevision.types import Batch, Preprocessing, Sample

Make = Callable[..., Path]
TRAIN = train_transform(ClassificationTransforms(size=24, erasing=0.5, rand_augment="rand-m9-mstd0.5-inc1"))


def collate(samples: list[Sample]) -> Batch:
    return Batch(
        images=torch.stack([sample.image for sample in samples]) if samples else torch.zeros(0, 3, 1, 1),
        targets=torch.tensor([sample.target for sample in samples], dtype=torch.long),
        names=[sample.name for sample in samples],
        indices=[sample.index for sample in samples],
        geometries=[sample.geometry for sample in samples],
    )


MIXING = ClassificationTransforms(mixup=0.8, cutmix=1.0, mix_probability=0.8)
MIXED = MixedCollate(collate, MIXING, 3)


def loader_of(root: Path, **options: object) -> Loader:
    values: dict[str, object] = {"batch_size": 4, "shuffle": True, "drop_last": True, "seed": 5, "epoch": 2, **options}
    return make_loader(open_dataset(root, "train"), TRAIN, MIXED, **values)


def same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        a.indices == b.indices
        and torch.equal(a.images, b.images)
        and torch.equal(a.targets, b.targets)
        and a.skipped == b.skipped
        for a, b in zip(one, other, strict=True)
    )


def order(**options: object) -> list[int]:
    plan = EpochPlan(50, 8, **options)
    return [index for number in range(plan.batches) for _, _, index in plan.batch(number)]


def test_a_shuffled_epoch_holds_every_image_once_in_an_order_of_its_own() -> None:
    first, again, next_epoch = (order(shuffle=True, seed=5, epoch=epoch) for epoch in (1, 1, 2))
    assert sorted(first) == list(range(50))
    assert first == again
    assert first != sorted(first)
    assert next_epoch not in (first, sorted(first))
    assert order(shuffle=True, seed=6, epoch=1) != first
    assert order(shuffle=False, seed=5, epoch=1) == sorted(first)


@pytest.fixture
def root(make_folder: Make) -> Path:
    root = make_folder(per_class=8)
    (root / "bee" / "003.jpg").write_bytes(b"broken")
    return root


def test_workers_change_nothing(root: Path) -> None:
    alone = list(loader_of(root))
    assert len(alone) == 4
    for workers in (1, 4):
        assert same(alone, list(loader_of(root, num_workers=workers)))


@pytest.mark.slow
def test_a_spawned_worker_changes_nothing(root: Path) -> None:
    # A fresh process imports what it is sent: parts without timm, whose import takes seconds; mixing is random enough.
    transform = EvaluationTransform(Preprocessing(size=(24, 24)))
    mixed = MixedCollate(ClassificationTask(("ant", "bee", "cat")).collate, MIXING, 3)
    dataset = open_dataset(root, "train", cache=1)
    spawned = [
        list(make_loader(dataset, transform, mixed, batch_size=4, seed=5, **options))
        for options in ({}, {"num_workers": 1, "start_method": "spawn"})
    ]
    assert same(*spawned)


def test_a_cache_changes_nothing(root: Path) -> None:
    cached = open_dataset(root, "train", cache=4)
    for workers in (0, 0, 2):
        values = {"batch_size": 4, "shuffle": True, "drop_last": True, "seed": 5, "epoch": 2, "num_workers": workers}
        assert same(list(loader_of(root)), list(make_loader(cached, TRAIN, MIXED, **values)))


def test_forked_workers_find_the_cache_filled(root: Path) -> None:
    scenes = open_dataset(f"placed-digits:{root}", "val", cache=4)
    make_loader(scenes, TRAIN, collate, batch_size=4, num_workers=1, start_method="fork")
    assert scenes.photographs.used > 0


@pytest.mark.parametrize("workers", [0, 2])
def test_starting_later_gives_the_rest(root: Path, workers: int) -> None:
    whole = list(loader_of(root))
    rest = loader_of(root, start_batch=2, num_workers=workers)
    assert len(rest) == 2
    assert same(whole[2:], list(rest))
    assert list(loader_of(root, start_batch=4, num_workers=workers)) == []


def test_what_came_before_is_not_decoded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(root, "train")
    read = []
    original = dataset.read
    monkeypatch.setattr(dataset, "read", lambda index: read.append(index) or original(index), raising=False)
    list(make_loader(dataset, TRAIN, collate, batch_size=4, start_batch=3))
    assert read == list(range(12, len(dataset)))


def test_seeds_and_epochs_differ_in_order_and_in_augmentation(root: Path) -> None:
    here = list(loader_of(root))
    assert not same(here, list(loader_of(root, epoch=3)))
    assert not same(here, list(loader_of(root, seed=6)))
    one, other = (next(iter(loader_of(root, shuffle=False, epoch=epoch))) for epoch in (0, 1))
    assert one.indices == other.indices
    assert not torch.equal(one.images, other.images)


def test_nobody_elses_random_numbers_are_touched(root: Path) -> None:
    def next_numbers() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(torch.rand(()))

    def start() -> None:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)

    start()
    expected = next_numbers()
    for workers in (0, 2):
        start()
        list(loader_of(root, num_workers=workers))
        assert next_numbers() == expected


def test_mixing_draws_for_the_batch_and_the_rank_not_after_the_samples(root: Path) -> None:
    def draws(transform: object, rank: int) -> list[float]:
        drawn: list[float] = []

        def draw(samples: list[Sample]) -> Batch:
            drawn.append(float(np.random.random()))
            return collate(samples)

        list(make_loader(open_dataset(root), transform, draw, batch_size=4, rank=rank, world=2))
        return drawn

    calm = EvaluationTransform(Preprocessing(size=(24, 24)))
    assert draws(calm, 0) == draws(TRAIN, 0)
    assert len({*draws(calm, 0), *draws(calm, 1)}) == 6


def test_unreadable_images_are_left_out_and_named(root: Path) -> None:
    for workers in (0, 2):
        every = make_loader(open_dataset(root, "all"), TRAIN, collate, batch_size=4, num_workers=workers)
        batches = list(every)
        assert sum(map(len, batches)) == 23
        (skipped,) = [skipped for batch in batches for skipped in batch.skipped]
        assert skipped.name == "bee/003.jpg"
        assert "none of the known formats" in skipped.reason


def test_a_batch_may_come_out_empty(root: Path) -> None:
    for path in root.rglob("*.jpg"):
        path.write_bytes(str(path).encode())
    batches = list(loader_of(root))
    assert [len(batch) for batch in batches] == [0] * 4
    assert [len(batch.skipped) for batch in batches] == [4] * 4
    assert len(batches[0].targets) == 0


@dataclass
class Stubborn:
    """A data set whose second half fails with something that is not about one image."""

    classes: tuple[str, ...] = ("a",)

    def __len__(self) -> int:
        return 8

    def read(self, index: int) -> object:
        raise DataError(f"Shard {index} went away.")


@pytest.mark.parametrize("workers", [0, 1])
def test_other_errors_arrive_as_their_one_sentence(workers: int) -> None:
    with pytest.raises(DataError) as caught:
        list(make_loader(Stubborn(), TRAIN, collate, batch_size=4, num_workers=workers))
    assert str(caught.value) == "Shard 0 went away."


# ------------------------------------------------------------------------------------------------ ranks and repeats


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_counts_every_image_once(root: Path, world: int) -> None:
    dataset = open_dataset(root, "all")
    transform = EvaluationTransform(Preprocessing(size=(24, 24)))
    seen: list[int] = []
    for rank in range(world):
        for batch in make_loader(dataset, transform, collate, batch_size=5, rank=rank, world=world):
            seen += batch.indices
            assert all(geometry is not None for geometry in batch.geometries)
    assert sorted(seen) == [index for index in range(24) if index != 11]


def test_more_ranks_than_images_leave_some_without_batches(root: Path) -> None:
    plans = [EpochPlan(2, 4, rank=rank, world=3) for rank in range(3)]
    assert [plan.batches for plan in plans] == [1, 1, 0]


def test_ranks_together_make_the_batches_of_one_process(root: Path) -> None:
    alone = EpochPlan(23, 6, shuffle=True, drop_last=True)
    pair = [EpochPlan(23, 3, shuffle=True, drop_last=True, rank=rank, world=2) for rank in range(2)]
    assert alone.batches == pair[0].batches == pair[1].batches == 3
    for number in range(3):
        assert sorted(alone.batch(number)) == sorted(pair[0].batch(number) + pair[1].batch(number))


def test_repeats_show_a_image_three_times_within_an_epoch_of_the_usual_length() -> None:
    # 50 images, batches of 8: floor(50 / 8) * 8 = 48 samples over all ranks, of 16 images three times each.
    plan = EpochPlan(50, 8, shuffle=True, repeats=3, drop_last=True)
    rows = [row for number in range(plan.batches) for row in plan.batch(number)]
    assert plan.samples == len(rows) == 48
    assert [position for _, position, _ in rows] == list(range(48))
    assert sorted(Counter(index for _, _, index in rows).values()) == [3] * 16


def test_repeats_meet_on_different_ranks() -> None:
    # floor(60 / 4) * 4 / 3 = 20 samples a rank; one step of all ranks sees each image three times.
    ranks = [EpochPlan(60, 4, shuffle=True, repeats=3, drop_last=True, rank=rank, world=3) for rank in range(3)]
    assert [plan.samples for plan in ranks] == [20] * 3
    for number in range(ranks[0].batches):
        by_rank = [[index for _, _, index in plan.batch(number)] for plan in ranks]
        assert by_rank[0] == by_rank[1] == by_rank[2]
        assert len(set(by_rank[0])) == 4


def test_repeats_differ_in_their_augmentation(root: Path) -> None:
    batch = next(iter(make_loader(open_dataset(root), TRAIN, collate, batch_size=3, repeats=3, shuffle=True)))
    assert len(set(batch.indices)) == 1
    assert not torch.equal(batch.images[0], batch.images[1])


def test_every_rank_has_as_many_training_batches() -> None:
    for images in (17, 30, 31, 32, 64):
        for repeats in (1, 3):
            plans = [EpochPlan(images, 4, repeats=repeats, drop_last=True, rank=rank, world=2) for rank in range(2)]
            assert plans[0].batches == plans[1].batches >= 1
            assert all(len(plan.batch(plan.batches - 1)) == 4 for plan in plans)


def test_impossible_plans_are_one_sentence() -> None:
    with pytest.raises(DataError, match="3 images do not fill one batch of 4"):
        EpochPlan(3, 4, drop_last=True)
    for options in ({"batch_size": 0}, {"repeats": 0}, {"rank": 2, "world": 2}, {"epoch": -1}):
        with pytest.raises(ConfigError):
            EpochPlan(10, **{"batch_size": 4, **options})


def test_data_sets_and_transforms_survive_pickling(root: Path) -> None:
    for spec in (root, "digits", f"placed-digits:{root}"):
        dataset = open_dataset(spec, "val", cache=1)
        again = pickle.loads(pickle.dumps(dataset))
        assert again.read(1).image.tobytes() == dataset.read(1).image.tobytes()
    detection = detection_transform(DetectionTransforms(short_sides=(24,), longest=40, crop_sides=(20, 30)))
    shown = open_dataset(root, "train").read(0)
    nothing = Objects(np.zeros((0, 4)), *(np.zeros(0, kind) for kind in (np.int64, np.float64, bool)))
    for transform, target in ((TRAIN, shown.target), (detection, nothing)):
        samples = []
        for one in (transform, pickle.loads(pickle.dumps(transform))):
            random.seed(1)
            np.random.seed(1)
            torch.manual_seed(1)
            samples.append(one(replace(shown, target=target)).image)
        assert torch.equal(*samples)
