"""A network and a data set of a few numbers, so that tests of training take seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from sparsevision.tasks.classification.task import ClassificationTask
from sparsevision.training import Parts, Recipe, train
from sparsevision.training.distillation import Teacher
from sparsevision.training.session import Session
from sparsevision.types import Batch, Preprocessing, Skipped

CLASSES = ("bright", "dark", "striped")


class TinyNet(nn.Module):
    """A network with timm's verbs and every kind of state: a norm, dropout, buffers."""

    num_classes = len(CLASSES)

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.config = {"width": width}
        self.stem = nn.Conv2d(3, width, 3, stride=2)
        self.norm = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(width, self.num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        return self.norm(self.stem(images)).relu()

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        pooled = self.drop(features.mean((-2, -1)))
        return pooled if pre_logits else self.head(pooled)

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))


class TinyLoaders:
    """Images drawn from (epoch, batch), so that any batch can be had again."""

    classes = CLASSES
    fingerprint = "tiny"
    batches = 6
    origin = MappingProxyType({"train": "drawn", "scored": "drawn"})
    scored_names = ("drawn",)
    sentences: ClassVar[list[str]] = []
    files = ()

    def __init__(self, *, size: int = 4, skipped: dict[int, list[Skipped]] | None = None) -> None:
        self.size, self.skipped = size, skipped or {}
        self.poison: int | None = None

    def train(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        for number in range(start_batch, self.batches):
            yield self.batch(1000 * epoch + number, self.size)

    def scored(self) -> Iterator[Batch]:
        for number in range(3):
            yield self.batch(999_000 + number, 7)

    def batch(self, seed: int, size: int) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        targets = torch.randint(0, 3, (size,), generator=generator)
        images = torch.randn(size, 3, 8, 8, generator=generator) * 0.3
        images[targets == 0] += 0.5
        images[targets == 1] -= 0.5
        images[targets == 2, :, ::2] += 1.0
        if self.poison == seed:
            images[0] = torch.nan
        names = [f"image-{seed}-{index}" for index in range(size)]
        return Batch(images, targets, names, list(range(size)), skipped=list(self.skipped.get(seed, [])))


def recipe(**values: object) -> Recipe:
    base = {
        "data.batch": 4,
        "transforms.size": 8,
        "data.spec": "tiny",
        "schedule.epochs": 2,
        "schedule.warmup_epochs": 0.5,
        "run.workers": 0,
        "run.log_every": 2,
        "ema.decay": 0.9,
        "model.name": "tiny_net",
    }
    return Recipe().with_values({**base, **values})


def parts(recipe: Recipe, loaders: TinyLoaders | None = None, *, teacher: bool = False) -> Parts:
    task = ClassificationTask(CLASSES, settings=recipe.settings)
    view = Preprocessing(size=(8, 8))
    taught = Teacher(TinyNet(width=5), view, recipe.distillation, view) if teacher else None
    return Parts(TinyNet(), task, loaders or TinyLoaders(), taught)


def final_weights(out: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(out / "last" / "state.safetensors")


def broken_off_and_resumed(recipe: Recipe, data: Path, out: Path, *, step: int = 3) -> None:
    """Trains until an error ends it before a step, and again from the state that was kept."""

    class BrokenError(Exception):
        pass

    finish, steps = Session.finish_step, 0

    def counting(session: Session, *given: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == step:
            raise BrokenError
        return finish(session, *given)

    kept = recipe.with_values({"run.checkpoint_every": 1})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Session, "finish_step", counting)
        with pytest.raises(BrokenError):
            train(kept, data=str(data), out=out)
    train(kept, data=str(data), out=out, resume=True)


def assert_same_weights(one: Path, other: Path) -> None:
    """Of two runs: every tensor of their last states is the same to the bit."""
    ours, theirs = final_weights(one), final_weights(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
