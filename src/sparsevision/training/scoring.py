"""Scoring trained weights on a labelled data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import nn

from sparsevision.data import open_dataset
from sparsevision.data.dataset import Split
from sparsevision.data.loading import make_loader
from sparsevision.data.preprocessing import EvaluationTransform, batch_for, least_decoded_side
from sparsevision.errors import CheckpointError
from sparsevision.factory import identity_of, insist_on_classifier, open_model, usable_device
from sparsevision.tasks import ClassificationReport, ClassificationTask
from sparsevision.training.loop import evaluate
from sparsevision.training.recipe import read_recipe
from sparsevision.training.selection import labelled_as
from sparsevision.types import Batch, Skipped


def score(
    checkpoint: str | Path,
    data: str,
    *,
    split: Split = "val",
    batch_size: int = 64,
    workers: int = 0,
    device: str | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[ClassificationReport, list[Skipped]]:
    """Scores a checkpoint, a run folder (its best weights) or a model's published weights on a split of a data set.

    Pictures are prepared as the checkpoint says. A data set that is not divided on disk is divided as for the run that
    the weights lie in. `progress` is told how many pictures are done, and of how many. Returns the report and the
    pictures that could not be read.
    """
    place = usable_device(device or _best_device())
    model, labels, transform = _opened(checkpoint)
    side = least_decoded_side(transform.preprocessing)
    dataset = labelled_as(open_dataset(data, split, seed=split_seed_of(checkpoint), side=side), labels)
    task = ClassificationTask(labels)
    batch_size = batch_for(transform.preprocessing, batch_size)
    loader = make_loader(dataset, transform, task.collate, batch_size=batch_size, num_workers=workers)
    skipped: list[Skipped] = []
    report = evaluate(model.to(place), task, _noting(loader, skipped, lambda done: progress(done, len(dataset))))
    assert isinstance(report, ClassificationReport)
    return report, skipped


def _opened(checkpoint: str | Path) -> tuple[nn.Module, tuple[str, ...], EvaluationTransform]:
    model = open_model(checkpoint)
    identity = identity_of(model)
    if identity is None or identity.labels is None:
        raise CheckpointError(f"{str(checkpoint)!r} does not say what its outputs are called, so it cannot be scored.")
    insist_on_classifier(identity.name)
    return model, identity.labels, EvaluationTransform(identity.preprocessing)


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
    import torch

    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
