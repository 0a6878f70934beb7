"""What a classification task promises: a loss that adds up over parts of a batch, measures that are right."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sparsevision.errors import ConfigError
from sparsevision.tasks.classification.task import ClassificationTask
from sparsevision.tasks.classification.transforms import ClassificationSettings
from sparsevision.tasks.labels.settings import LabelLoss
from sparsevision.types import Batch, Sample

CLASSES = ("cat", "dog", "owl")


def batch(targets: list[int]) -> Batch:
    samples = [Sample(torch.zeros(3, 4, 4), target, f"{n}.jpg", n) for n, target in enumerate(targets)]
    return ClassificationTask(CLASSES).collate(samples)


def task_with(**loss: object) -> ClassificationTask:
    return ClassificationTask(CLASSES, settings=ClassificationSettings(loss=LabelLoss(**loss)))


def of(images: float) -> torch.Tensor:
    """A step's count."""
    return torch.tensor([images])


def logits_for(answers: list[int]) -> torch.Tensor:
    return 5.0 * F.one_hot(torch.tensor(answers), 3).float()


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    torch.manual_seed(0)
    task, whole, logits = task_with(label_smoothing=0.1), batch([0, 1, 2, 2]), torch.randn(4, 3)
    total = task.loss(logits, whole, task.count(whole))["classification"]
    parts = [
        task.loss(logits[rows], batch(targets), of(4.0))["classification"]
        for rows, targets in ((slice(0, 1), [0]), (slice(1, 4), [1, 2, 2]))
    ]
    assert torch.allclose(total, sum(parts))
    assert torch.allclose(total, F.cross_entropy(logits, whole.targets, label_smoothing=0.1))


def test_labels_and_shares_of_classes_mean_the_same() -> None:
    torch.manual_seed(0)
    task, hard, logits = task_with(label_smoothing=0.1), batch([0, 2]), torch.randn(2, 3)
    soft = batch([0, 2])
    soft.targets = F.one_hot(hard.targets, 3).float()
    assert torch.allclose(
        task.loss(logits, hard, of(2.0))["classification"], task.loss(logits, soft, of(2.0))["classification"]
    )


def test_class_weights_count_a_class_more_often() -> None:
    logits, plain = torch.zeros(1, 3), ClassificationTask(CLASSES)
    weighted = task_with(class_weights=(3.0, 1.0, 1.0))
    once, thrice = (task.loss(logits, batch([0]), of(1.0))["classification"] for task in (plain, weighted))
    assert torch.allclose(3 * once, thrice)
    with pytest.raises(ConfigError, match="2 class weights for 3 classes"):
        task_with(class_weights=(1.0, 1.0))


def test_measures() -> None:
    task = ClassificationTask(CLASSES)
    metrics = task.metrics()
    metrics.update(logits_for([0, 0, 0]), batch([0, 0, 1]))
    metrics.update(logits_for([1]), batch([0]))
    report = metrics.compute()
    assert report.images == 4
    assert report.top1 == pytest.approx(2 / 4)
    assert report.mean_class == pytest.approx((2 / 3 + 0) / 2)
    assert report.per_class == (pytest.approx(2 / 3), 0.0, None)
    assert report.confusion == ((2, 1, 0), (1, 0, 0), (0, 0, 0))
    assert report.top5 == 1.0
    expected = F.cross_entropy(logits_for([0, 0, 0, 1]), torch.tensor([0, 0, 1, 0]))
    assert report.loss == pytest.approx(float(expected))


def test_measures_of_nothing_and_of_one_class() -> None:
    assert ClassificationTask(CLASSES).metrics().compute().images == 0
    lone = ClassificationTask(("cat",)).metrics()
    lone.update(torch.zeros(2, 1), batch([0, 0]))
    report = lone.compute()
    assert (report.top1, report.confusion) == (1.0, ((2,),))


def test_balanced_weights_are_inverse_to_the_shares_of_the_training_set() -> None:
    settings = ClassificationSettings(loss=LabelLoss(class_weights="balanced"))
    task = ClassificationTask(CLASSES, settings=settings, labels=[0, 0, 0, 1])
    assert task.class_weights is not None
    assert task.class_weights.tolist() == pytest.approx([4 / 6, 2.0, 0.0])


def test_results_have_the_best_classes_and_as_many_as_were_asked_for() -> None:
    task, pair = ClassificationTask(CLASSES), batch([0, 0])
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]])
    first, second = task.reader()(logits, pair)
    assert first.labels == ("cat", "dog", "owl")
    assert sum(first.scores) == pytest.approx(1.0)
    assert second.labels[0] == "dog"
    assert first.scores == pytest.approx(logits[0].softmax(0).tolist())
    assert [len(result.labels) for result in task.reader(top_k=2)(logits, pair)] == [2, 2]
    assert first.classes == CLASSES
    assert task.options["top_k"].default == 3


def test_images_of_different_sizes_are_padded_and_their_sizes_told() -> None:
    task = ClassificationTask(("a", "b"))
    batch = task.collate([Sample(torch.ones(3, 4, 6), 0, "wide", 0), Sample(torch.ones(3, 8, 2), 1, "high", 1)])
    assert batch.images.shape == (2, 3, 8, 6)
    assert batch.sizes.tolist() == [[4, 6], [8, 2]]
    assert batch.images[0, :, 4:].abs().sum() == batch.images[1, :, :, 2:].abs().sum() == 0
    assert batch.images.sum() == 3 * (4 * 6 + 8 * 2)
    assert task.collate([Sample(torch.ones(3, 4, 6), 0, "x", 0)] * 2).sizes is None
