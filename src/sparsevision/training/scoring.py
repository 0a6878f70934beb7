"""Scoring trained weights on a labelled data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import nn

from sparsevision.data import open_dataset
from sparsevision.data.dataset import Split
from sparsevision.data.loading import make_loader
from sparsevision.data.preprocessing import EvaluationTransform
from sparsevision.errors import CheckpointError
from sparsevision.factory import identity_of, open_model, usable_device
from sparsevision.tasks import ClassificationTask, Report
from sparsevision.training.loop import evaluate
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
    seed: int = 0,
) -> tuple[Report, list[Skipped]]:
    """Scores a checkpoint, a run folder (its best weights) or a model's published weights on a split of a data set.

    Pictures are prepared as the checkpoint says. Returns the report and the pictures that could not be read. `seed`
    matters for data sets that are not divided into train and val on disk.
    """
    place = usable_device(device or _best_device())
    model, labels, transform = _opened(checkpoint)
    dataset = labelled_as(open_dataset(data, split, seed=seed), labels)
    task = ClassificationTask(labels)
    if transform.preprocessing.fit == "whole":
        batch_size = 1  # whole pictures differ in size, and padding one changes what convolutions see of it
    loader = make_loader(dataset, transform, task.collate, batch_size=batch_size, num_workers=workers)
    skipped: list[Skipped] = []
    report = evaluate(model.to(place), task, _noting(loader, skipped))
    return report, skipped


def _opened(checkpoint: str | Path) -> tuple[nn.Module, tuple[str, ...], EvaluationTransform]:
    best = Path(checkpoint) / "best"
    model = open_model(best if best.is_dir() else checkpoint)
    identity = identity_of(model)
    if identity is None or identity.labels is None:
        raise CheckpointError(f"{str(checkpoint)!r} does not say what its outputs are called, so it cannot be scored.")
    return model, identity.labels, EvaluationTransform(identity.preprocessing)


def _noting(batches: Iterable[Batch], skipped: list[Skipped]) -> Iterator[Batch]:
    for batch in batches:
        skipped += batch.skipped
        yield batch


def _best_device() -> Any:
    import torch

    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
