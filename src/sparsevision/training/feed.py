"""What a run is fed with: the batches of any epoch from any point on, and those that it is scored on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sparsevision.data.dataset import Dataset
from sparsevision.data.detection import DetectionEvaluation, DetectionSettings, DetectionTransform
from sparsevision.data.loading import Collate, Loader, make_loader
from sparsevision.data.mixing import Mixing
from sparsevision.data.preprocessing import EvaluationTransform, batch_for
from sparsevision.data.transforms import TrainTransform, TransformSettings
from sparsevision.errors import ConfigError, DataError
from sparsevision.tasks import Task
from sparsevision.training.recipe import DataSection, Recipe
from sparsevision.types import Batch, Preprocessing


class Feed(Protocol):
    """Batches for training and for scoring, the same ones whenever they are asked for.

    `batches` counts one process's batches in an epoch; `fingerprint` changes with the data; `scored_names` names the
    pictures that are scored.
    """

    classes: tuple[str, ...]
    fingerprint: str
    batches: int
    origin: Mapping[str, str]
    scored_names: Sequence[object]

    def train(self, epoch: int, start_batch: int = 0) -> Iterable[Batch]:
        """Returns an epoch's batches from one of them on."""
        ...

    def scored(self) -> Iterable[Batch]:
        """Returns the batches that weights are scored on."""
        ...


@dataclass
class PictureFeed:
    """Batches of pictures by a recipe's [data] section, of one process of `world`; what is shown goes by its task."""

    recipe: Recipe
    train_set: Dataset
    val_set: Dataset
    task: Task
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.train_set.classes != self.val_set.classes:
            raise DataError("The classes of train and val differ: both need the same class folders.")
        data, parts = self.recipe.data, self.world * self.recipe.run.accumulation
        if data.batch % parts:
            raise ConfigError(
                f"data.batch ({data.batch}) must be a multiple of processes times accumulation ({parts}): change one."
            )
        self.classes = self.train_set.classes
        self.fingerprint = f"{self.train_set.fingerprint}-{self.val_set.fingerprint}"
        self.origin: Mapping[str, str] = {"train": self.train_set.origin, "scored": self.val_set.origin}
        self.scored_names: Sequence[object] = self.val_set.names
        self.batch_size = data.batch // parts
        self.transform: TrainTransform | DetectionTransform
        self.collate: Collate = self.task.collate
        if self.recipe.task == "detection":
            settings = DetectionSettings(mean=data.mean, std=data.std, **data.detection.model_dump())
            self.transform = DetectionTransform(settings)
        else:
            self.transform = TrainTransform(_settings(data))
            if data.mixes:
                self.collate = _mixing(data, len(self.classes)).after(self.task.collate)
        self.batches = len(self.train(0))
        if self.batches < self.recipe.run.accumulation:
            raise DataError(
                f"{len(self.train_set)} pictures do not fill one step of data.batch={data.batch}: lower it."
            )

    def train(self, epoch: int, start_batch: int = 0) -> Loader:
        """Returns the training batches of an epoch."""
        return self._loader(
            self.train_set,
            self.transform,
            self.collate,
            batch_size=self.batch_size,
            epoch=epoch,
            shuffle=self.recipe.data.shuffle,
            repeats=self.recipe.data.repeats,
            drop_last=True,
            start_batch=start_batch,
        )

    def scored(self) -> Loader:
        """Returns the batches that weights are scored on, each picture once over all processes."""
        detects, preprocessing = self.recipe.task == "detection", evaluation_preprocessing(self.recipe.data)
        transform = (DetectionEvaluation if detects else EvaluationTransform)(preprocessing)
        size = batch_for(preprocessing, self.recipe.data.evaluation.batch or self.batch_size)
        return self._loader(self.val_set, transform, self.task.collate, batch_size=size)

    def _loader(self, dataset: Dataset, transform: Any, collate: Any, **options: Any) -> Loader:
        run = self.recipe.run
        place: dict[str, Any] = {"rank": self.rank, "world": self.world, "num_workers": run.workers, "seed": run.seed}
        return make_loader(dataset, transform, collate, **place, **options)


def evaluation_preprocessing(data: DataSection) -> Preprocessing:
    """Returns how a picture meets the model outside training; saved with the weights."""
    size = data.evaluation.size or data.size
    return Preprocessing(
        size=(size, max(data.evaluation.longest, size) if data.evaluation.fit == "short" else size),
        fit=data.evaluation.fit,
        crop_fraction=data.evaluation.crop_fraction,
        interpolation=data.evaluation.interpolation,
        mean=data.mean,
        std=data.std,
    )


def class_weights(recipe: Recipe, labels: Sequence[int], number: int) -> tuple[float, ...] | None:
    """Returns one weight a class, None for none; "balanced" ones are 1 on average over the pictures."""
    wanted = recipe.loss.class_weights
    if wanted == "none":
        return None
    if wanted != "balanced":
        return wanted
    counts = [0] * number
    for label in labels:
        counts[label] += 1
    present = sum(1 for count in counts if count)
    return tuple(len(labels) / (present * count) if count else 0.0 for count in counts)


def _mixing(data: DataSection, classes: int) -> Mixing:
    return Mixing(classes, data.mixup, data.cutmix, data.mix_probability, data.mix_switch)


def _settings(data: DataSection) -> TransformSettings:
    return TransformSettings(size=(data.size, data.size), mean=data.mean, std=data.std, **data.train.model_dump())
