"""Trained weights scored on an annotated data set."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparsevision.checkpoints.labels import synonyms_of
from sparsevision.data.loading import make_loader
from sparsevision.data.preprocessing import batch_for, least_decoded_side
from sparsevision.data.subset import labelled_as
from sparsevision.errors import CheckpointError, ConfigError, DataError
from sparsevision.factory import identity_of, open_model, task_of, usable_device
from sparsevision.inference.options import checked_options, checked_value
from sparsevision.tasks import Report, Task, task_named
from sparsevision.types import Batch, Skipped

Progress = Callable[[int, int], None]


@torch.no_grad()
def evaluate_batches(
    model: nn.Module, task: Task, loader: Iterable[Batch], controls: Mapping[str, Any] | None = None
) -> Report:
    """Scores a model on annotated batches; on several processes each brings its part and all get the whole report.

    It runs on the model's device, under the caller's autocast; the model is left in the mode it was in. `controls` are
    handed to the model with every batch. Raises DataError where not one image could be read.
    """
    device = next(chain(model.parameters(), model.buffers())).device  # an exported file has no parameters
    was_training = model.training
    model.eval()
    metrics = task.metrics().to(device)
    skipped: list[Skipped] = []
    for batch in loader:
        skipped += batch.skipped
        if not len(batch):
            continue
        batch = batch.to(device, non_blocking=True)
        if batch.sizes is not None and not hasattr(model, "controls"):
            raise ConfigError(
                f"{type(model).__name__} takes images of one size only: evaluate it with fit = 'crop' or 'stretch'."
            )
        sizes = {} if batch.sizes is None else {"sizes": batch.sizes}
        output = model(batch.images, **sizes, **(controls or {}))
        metrics.update(task.merge(output, batch), batch)
    model.train(was_training)
    report = metrics.compute()
    if not report.images:
        raise nothing_read("score", [one.reason for one in skipped], task.things)
    return report


def nothing_read(purpose: str, reasons: Sequence[str], things: str = "images") -> DataError:
    """Returns the error for data of which nothing could be read."""
    first = f": {reasons[0]}" if reasons else "."
    return DataError(f"None of the {len(reasons)} {things} to {purpose} could be read{first}")


def evaluate(
    checkpoint: str | Path, data: str, *, split: str | None = None, batch_size: int | None = None, workers: int = 0,
    device: str | None = None, progress: Progress = lambda done, total: None, **controls: Any,
) -> tuple[Report, list[Skipped]]:  # fmt: skip
    """Scores a checkpoint, a run folder (its best weights) or a model's published weights on a split of a data set.

    Images are prepared as the checkpoint has it. Without a `split` that is "val", and everything in a data set that is
    not divided on disk; one that the run of the weights divided is divided in the same way.
    `progress(done, total)` is called along the way; `controls` are the model's, by name, and the task's `view_options`.
    Returns the report and the images that could not be read.
    """
    evaluation = Evaluation(checkpoint, data, split=split, device=device)
    return evaluation.report(batch_size, workers, progress, **controls)


_UNKNOWN = (
    "these weights do not tell which images they learned from. If some of these were among them, the score says "
    "little: --split val scores those that `train` holds out of such a folder."
)


class Evaluation:
    """Trained weights and the data that they are scored on: `model` on its `device`, its `task`, the `dataset`.

    `note` is a sentence where the score may be of images that the weights learned from.
    """

    def __init__(
        self, checkpoint: str | Path, data: str, *, split: str | None = None, device: str | None = None
    ) -> None:
        self.device = usable_device(device or _best_device())
        model = open_model(checkpoint)
        identity = identity_of(model)
        if identity is None or identity.labels is None:
            raise CheckpointError(f"{str(checkpoint)!r} does not name its outputs, so it cannot be scored.")
        self.preprocessing, labels = identity.preprocessing, identity.labels
        kind = task_named(task_of(identity.name))
        chosen = split or default_split(kind, checkpoint, data)
        undivided = split is None and chosen == "all" and Path(checkpoint).exists()
        self.note = _UNKNOWN if undivided and _fingerprint_of_run(checkpoint) is None else None
        dataset = kind.open(data, chosen, seed=split_seed_of(checkpoint), side=least_decoded_side(self.preprocessing))
        self.task: Task = kind(labels, identity.class_metadata)
        self.dataset = labelled_as(dataset, labels, kind.relabel, synonyms_of(labels))
        self.model: Any = model.to(self.device)

    def report(
        self, batch_size: int | None = None, workers: int = 0, progress: Progress = lambda done, total: None,
        **controls: Any,
    ) -> tuple[Report, list[Skipped]]:  # fmt: skip
        """Returns the report over all images, and those that could not be read."""
        known = self.task.view_options
        chosen = checked_options(self.model, controls, known)
        views = {name: checked_value(known[name], value) for name, value in controls.items() if name in known}
        skipped: list[Skipped] = []
        batches = self.batches(batch_size, workers, skipped, progress, views)
        return evaluate_batches(self.model, self.task, batches, chosen), skipped

    def batches(
        self, batch_size: int | None, workers: int, skipped: list[Skipped],
        progress: Progress = lambda done, total: None, views: Mapping[str, Any] | None = None,
    ) -> Iterator[Batch]:  # fmt: skip
        """Yields the images in batches; those that cannot be read are appended to `skipped`.

        `views` are values of the task's `view_options`.
        """
        wanted = self.task.evaluation_batch if batch_size is None else batch_size
        preprocessing = self.task.viewed(self.preprocessing, **(views or {}))
        size = batch_for(preprocessing, wanted)
        transform = self.task.evaluation_transform(preprocessing)
        done = 0
        for batch in make_loader(self.dataset, transform, self.task.collate, batch_size=size, num_workers=workers):
            skipped += batch.skipped
            yield batch
            done += len(batch) + len(batch.skipped)
            progress(done, len(self.dataset))


def default_split(task: type[Task], checkpoint: str | Path, data: str) -> str:
    """Returns the split to score: "val", but everything where a data set is not divided and was not trained on.

    Of one that has neither train nor val on disk it is what there is.
    """
    named = task.layout(data).splits(data)
    if {"train", "val"} & {*named}:
        return "val"
    if named:
        return named[0]
    seed, trained_on = split_seed_of(checkpoint), _fingerprint_of_run(checkpoint)
    if trained_on is None:
        return "all"
    parts = [task.open(data, split, seed=seed).fingerprint for split in ("train", "val")]
    return "val" if "-".join(parts) == trained_on else "all"


def _fingerprint_of_run(checkpoint: str | Path) -> str | None:
    """Returns the fingerprint of the data of the run that weights lie in, None where they lie in no run folder."""
    files = (folder / "data.json" for folder in (Path(checkpoint), Path(checkpoint).parent))
    found = next((path for path in files if path.is_file()), None)
    try:
        return None if found is None else str(json.loads(found.read_text(encoding="utf-8"))["fingerprint"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def split_seed_of(checkpoint: str | Path) -> int:
    """Returns the seed that divided a run's data set; 0, the default, for weights that lie in no run folder."""
    recipes = (folder / "recipe.toml" for folder in (Path(checkpoint), Path(checkpoint).parent))
    found = next((path for path in recipes if path.is_file()), None)
    if found is None:
        return 0
    try:
        return int(tomllib.loads(found.read_text(encoding="utf-8")).get("data", {}).get("split_seed", 0))
    except (OSError, ValueError, TypeError, AttributeError):
        raise ConfigError(f"The recipe {str(found)!r} cannot be read as TOML with [data] split_seed.") from None


def _best_device() -> Any:
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
