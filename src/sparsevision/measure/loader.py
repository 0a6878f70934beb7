"""Speed of the data loader alone: how fast images could arrive if the model cost nothing."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sparsevision.data.loading import make_loader
from sparsevision.tasks import task_named, task_of_data
from sparsevision.types import Batch


@dataclass(frozen=True)
class LoaderSpeed:
    """Images that came in `seconds` through the training transforms, and those `skipped` as unreadable."""

    images: int
    skipped: int
    seconds: float
    size: int
    batch: int
    workers: int

    @property
    def images_per_second(self) -> float:
        """Images a second, reading, decoding, transforming and collating."""
        return self.images / self.seconds if self.seconds else 0.0


def measure_loader(
    spec: str, *, size: int = 224, batch: int = 32, workers: int = 0, seconds: float = 10.0,
    clock: Callable[[], float] = time.perf_counter,
) -> LoaderSpeed:  # fmt: skip
    """Loads the training split of a data set in training order until `seconds` are over, epoch after epoch.

    The first batch, for which workers start and files are found, is not counted.
    """
    batches = _epochs(spec, size, batch, workers)
    next(batches)
    images = skipped = 0
    start = now = clock()
    while now - start < seconds:
        arrived = next(batches)
        images, skipped = images + len(arrived), skipped + len(arrived.skipped)
        now = clock()
    return LoaderSpeed(images, skipped, now - start, size, batch, workers)


def _epochs(spec: str, size: int, batch: int, workers: int) -> Iterator[Batch]:
    kind = task_named(task_of_data(spec))
    dataset = kind.open(spec, "train")
    sized = "size" in type(kind.Settings().transforms).model_fields
    settings = kind.Settings.model_validate({"transforms": {"size": size}} if sized else {})
    task = kind(dataset.classes, settings=settings)
    transform = task.train_transform()
    for epoch in itertools.count():
        yield from make_loader(
            dataset, transform, task.collate, batch_size=batch, epoch=epoch, shuffle=True, num_workers=workers
        )
