"""Scoring trained weights on a labelled data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch

from sparsevision.checkpoints.identity import Identity
from sparsevision.data import open_dataset
from sparsevision.data.dataset import Dataset
from sparsevision.data.loading import Loader, make_loader
from sparsevision.data.preprocessing import EvaluationTransform, batch_for, least_decoded_side
from sparsevision.errors import CheckpointError, ConfigError
from sparsevision.factory import identity_of, open_model, task_of, usable_device
from sparsevision.inference.options import checked_options
from sparsevision.tasks import ClassificationTask, Report, Task
from sparsevision.training.loop import evaluate
from sparsevision.training.recipe import read_recipe
from sparsevision.training.selection import labelled_as
from sparsevision.types import Batch, Skipped

ScoredSplit = Literal["train", "val", "test", "all"]
# Pictures at once where nothing else is said; whole ones, which differ in size, come one by one.
_BATCH = {"classification": 64, "detection": 8}


def score(
    checkpoint: str | Path,
    data: str,
    *,
    split: ScoredSplit = "val",
    batch_size: int | None = None,
    workers: int = 0,
    device: str | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
    **controls: Any,
) -> tuple[Report, list[Skipped]]:
    """Scores a checkpoint, a run folder (its best weights) or a model's published weights on a split of a data set.

    Pictures are prepared as the checkpoint says. A data set that is not divided on disk is divided as for the run that
    the weights lie in. `progress` is told how many pictures are done, and of how many; `controls` are the model's, as
    `keep_ratio`. Returns the report and the pictures that could not be read.
    """
    scored = ToScore(checkpoint, data, split=split, device=device)
    return scored.score(batch_size, workers, progress, **controls)


class ToScore:
    """Trained weights and the data that they are scored on: `model` on its `device`, its `task`, the `dataset`.

    `kind` is "classification" or "detection".
    """

    def __init__(
        self, checkpoint: str | Path, data: str, *, split: ScoredSplit = "val", device: str | None = None
    ) -> None:
        self.device = usable_device(device or _best_device())
        model = open_model(checkpoint)
        identity = identity_of(model)
        if identity is None or identity.labels is None:
            raise CheckpointError(
                f"{str(checkpoint)!r} does not say what its outputs are called, so it cannot be scored."
            )
        self.preprocessing, self.kind = identity.preprocessing, task_of(identity.name)
        seed = split_seed_of(checkpoint)
        self.task: Task
        self.dataset: Dataset
        if self.kind == "detection":
            self.task, self.dataset = _objects_to_score(identity, data, split, seed)
        else:
            self.task, self.dataset = _pictures_to_score(identity, data, split, seed)
        self.model: Any = model.to(self.device)

    def score(
        self,
        batch_size: int | None = None,
        workers: int = 0,
        progress: Callable[[int, int], None] = lambda done, of: None,
        **controls: Any,
    ) -> tuple[Report, list[Skipped]]:
        """Returns the report over all pictures, and those that could not be read."""
        chosen = checked_options(self.model, controls)
        skipped: list[Skipped] = []
        batches = self.batches(batch_size, workers, skipped, progress)
        return evaluate(self.model, self.task, batches, chosen), skipped

    def batches(
        self,
        batch_size: int | None,
        workers: int,
        skipped: list[Skipped],
        progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> Iterator[Batch]:
        """Yields the pictures in batches; `skipped` is given those that cannot be read."""
        loader = self._loader(batch_size if batch_size is not None else _BATCH[self.kind], workers)
        return _noting(loader, skipped, lambda done: progress(done, len(self.dataset)))

    def _loader(self, batch_size: int, workers: int) -> Loader:
        preprocessing = self.preprocessing
        transform: Any = EvaluationTransform(preprocessing)
        if self.kind == "detection":
            from sparsevision.data.detection import DetectionEvaluation

            transform = DetectionEvaluation(preprocessing)
        size = batch_for(preprocessing, batch_size)
        return make_loader(self.dataset, transform, self.task.collate, batch_size=size, num_workers=workers)


def _pictures_to_score(identity: Identity, data: str, split: ScoredSplit, seed: int) -> tuple[Task, Dataset]:
    if split == "test":
        raise ConfigError("Only data sets with boxes have a split 'test': use --split train, val or all.")
    labels = identity.labels or ()
    dataset = open_dataset(data, split, seed=seed, side=least_decoded_side(identity.preprocessing))
    return ClassificationTask(labels), labelled_as(dataset, labels)


def _objects_to_score(identity: Identity, data: str, split: ScoredSplit, seed: int) -> tuple[Task, Dataset]:
    # Imported where they are needed: classifiers do without.
    from sparsevision.data.opening_objects import open_objects
    from sparsevision.tasks.detection.task import DetectionTask

    if split == "all":
        raise ConfigError("A data set with boxes is scored split by split: use --split train, val or test.")
    labels, facts = identity.labels or (), identity.facts
    dataset = open_objects(data, split, seed=seed)
    return DetectionTask(labels, facts.category_ids, facts.thresholds), labelled_as(dataset, labels)


def split_seed_of(checkpoint: str | Path) -> int:
    """Returns the seed that divided a run's data set; 0, the default, for weights that lie in no run folder."""
    recipes = (folder / "recipe.toml" for folder in (Path(checkpoint), Path(checkpoint).parent))
    found = next((path for path in recipes if path.is_file()), None)
    return 0 if found is None else read_recipe(found).data.split_seed


def _noting(batches: Iterable[Batch], skipped: list[Skipped], progress: Callable[[int], None]) -> Iterator[Batch]:
    done = 0
    for batch in batches:
        skipped += batch.skipped
        yield batch
        done += len(batch) + len(batch.skipped)
        progress(done)


def _best_device() -> Any:
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
