"""Batches of a run: those of any epoch from any point on, and those that weights are scored on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sparsevision.data.dataset import Dataset
from sparsevision.data.inspection import notes_of
from sparsevision.data.loading import Loader, make_loader
from sparsevision.data.preprocessing import batch_for
from sparsevision.errors import ConfigError, DataError
from sparsevision.tasks import Task
from sparsevision.training.recipe import Recipe
from sparsevision.types import Batch


class Loaders(Protocol):
    """Batches for training and for scoring, the same ones whenever they are asked for.

    `batches` counts one process's batches in an epoch; `fingerprint` changes with the data; `scored_names` names the
    images that are scored; `sentences` says to a person what is trained on and scored, and what is not read; `files`
    are the paths that images are read from.
    """

    classes: tuple[str, ...]
    fingerprint: str
    batches: int
    origin: Mapping[str, str]
    scored_names: Sequence[object]
    sentences: list[str]
    files: Sequence[str]

    def train(self, epoch: int, start_batch: int = 0) -> Iterable[Batch]:
        """Returns an epoch's batches from one of them on."""
        ...

    def scored(self) -> Iterable[Batch]:
        """Returns the batches that weights are scored on."""
        ...


@dataclass(kw_only=True)
class ImageLoaders:
    """Batches of images by a recipe, of one process of `world`, as the task transforms and collates them."""

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
        train, scored, things = self.train_set, self.val_set, self.task.things
        self.files: Sequence[str] = [path for each in (train, scored) for path in getattr(each, "files", ())]
        self.sentences: list[str] = [
            f"Training on {len(train):,} {things}: {train.origin}.",
            f"Scoring {len(scored):,} {things}: {scored.origin}.",
            *notes_of([train, scored]),
        ]  # fmt: skip
        self.batch_size = data.batch // parts
        if (seen := len(train) * data.repeats) < parts:
            raise ConfigError(
                f"{len(train)} {things} are fewer than the {parts} parts of a step (run.accumulation times processes): "
                "lower run.accumulation."
            )
        if seen < data.batch:
            self.batch_size = seen // parts
            self.sentences.append(
                f"{len(train)} {things} do not fill a step of data.batch={data.batch}: a step has "
                f"{self.batch_size * parts}."
            )
        self.transform, self.collate = self.task.train_transform(), self.task.train_collate()
        self.batches = len(self._epoch(0, 0, self.transform))
        self._epochs = self.recipe.schedule.whole_epochs(max(self.batches // self.recipe.run.accumulation, 1))

    def train(self, epoch: int, start_batch: int = 0) -> Loader:
        """Returns the training batches of an epoch."""
        transform = self.task.late_transform(self._epochs - epoch) or self.transform
        return self._epoch(epoch, start_batch, transform)

    def _epoch(self, epoch: int, start_batch: int, transform: Any) -> Loader:
        return self._loader(
            self.train_set, transform, self.collate, batch_size=self.batch_size, epoch=epoch,
            shuffle=self.recipe.data.shuffle, repeats=self.recipe.data.repeats, drop_last=True, start_batch=start_batch,
        )  # fmt: skip

    def scored(self) -> Loader:
        """Returns the batches that weights are scored on, each image once over all processes."""
        preprocessing = self.recipe.preprocessing
        size = batch_for(preprocessing, self.recipe.data.evaluation_batch or self.batch_size)
        transform = self.task.evaluation_transform(preprocessing)
        return self._loader(self.val_set, transform, self.task.collate, batch_size=size)

    def _loader(self, dataset: Dataset, transform: Any, collate: Any, **options: Any) -> Loader:
        run = self.recipe.run
        place: dict[str, Any] = {"rank": self.rank, "world": self.world, "num_workers": run.workers, "seed": run.seed}
        return make_loader(dataset, transform, collate, **place, **options)
