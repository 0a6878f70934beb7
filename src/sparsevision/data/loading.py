"""Batches of an epoch: the same ones for any number of workers, from any batch on."""

from __future__ import annotations

import re
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from sparsevision.data.caching import CachedDataset
from sparsevision.data.dataset import Dataset, Record
from sparsevision.data.sampling import EpochPlan
from sparsevision.data.seeding import preserved_globals, seed_globals
from sparsevision.errors import ConfigError, DataError, SparseVisionError, UnreadableImageError
from sparsevision.types import Batch, Sample, Skipped

Transform = Callable[[Record], Sample]
Collate = Callable[[list[Sample]], Batch]


def make_loader(
    dataset: Dataset, transform: Transform, collate: Collate, *, batch_size: int, epoch: int = 0, seed: int = 0,
    shuffle: bool = False, repeats: int = 1, drop_last: bool = False, rank: int = 0, world: int = 1,
    num_workers: int = 0, start_batch: int = 0, start_method: str | None = None,
) -> Loader:  # fmt: skip
    """Returns the batches of one epoch, of one rank, from batch `start_batch` on.

    Every sample's randomness is drawn from (seed, epoch, position in the epoch), and `collate`'s (mixing) from (seed,
    epoch, batch, rank), so neither `num_workers` nor `start_batch` nor the `start_method` of the worker processes
    changes a batch, and nobody else's random numbers are touched. `EpochPlan` says how samples are ordered and dealt
    out. Images that cannot be read are left out and listed in `batch.skipped`; `collate` may be handed an empty list.
    """
    plan = EpochPlan(
        len(dataset), batch_size, epoch=epoch, seed=seed, shuffle=shuffle, repeats=repeats, drop_last=drop_last,
        rank=rank, world=world,
    )  # fmt: skip
    return Loader(_Batches(dataset, transform, collate, plan), start_batch, num_workers, start_method)


class Loader:
    """Iterates over the batches of an epoch; `len` is how many come. A worker's error arrives as one sentence, too."""

    def __init__(self, batches: _Batches, start_batch: int, num_workers: int, start_method: str | None) -> None:
        if num_workers < 0:
            raise ConfigError(f"The number of workers is {num_workers}; it must be at least 0.")
        self.plan = batches.plan
        self.numbers = range(start_batch, self.plan.batches)
        workers = min(num_workers, len(self.numbers))
        method = start_method or torch.multiprocessing.get_start_method()
        if workers > 0 and method == "fork":
            # Workers that are forked share what is in memory by now, and nothing that one of them adds later.
            _fill_cache(batches.dataset)
        with _without_advice():
            self._loader: DataLoader[Batch | _Failure] = DataLoader(
                batches,
                batch_size=None,
                sampler=self.numbers,
                num_workers=workers,
                multiprocessing_context=method if workers > 0 else None,
                worker_init_fn=_outlive_requests_to_stop,
                # Its own generator: the default would draw from torch's global one, with workers only.
                generator=torch.Generator(),
            )

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Batch]:
        try:
            with _without_advice():
                batches = iter(self._loader)
            for batch in batches:
                if isinstance(batch, _Failure):
                    raise DataError(batch.sentence)
                yield batch
        except RuntimeError as error:
            # A worker's own error comes as "Caught ... in DataLoader worker"; these say that it is gone.
            if not re.search(r"DataLoader worker .*(exited unexpectedly|is killed by signal)", str(error)):
                raise
            raise DataError(
                "A process that loads images was killed, most likely for want of memory: use fewer workers or a "
                "smaller batch size."
            ) from error


def _outlive_requests_to_stop(worker: int) -> None:
    """Leaves a signal that comes to all processes of a command at once to the one that writes the state.

    So do Ctrl-C, a closed terminal, and programs that end a whole group by SIGTERM. A second SIGTERM ends the worker.
    """
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(signal.SIGTERM, signal.SIG_DFL))


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keeps torch's advice about numbers of workers, which are the user's choice, from being repeated every epoch."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        yield


def _fill_cache(dataset: object) -> None:
    """Fills the cache of a data set, or of the one that it is a part of or draws upon."""
    if isinstance(dataset, CachedDataset):
        dataset.fill()
    else:
        inner = getattr(dataset, "dataset", None) or getattr(dataset, "photographs", None)
        if inner is not None:
            _fill_cache(inner)


@dataclass(frozen=True)
class _Failure:
    """A worker's error as a value: thrown, it would arrive wrapped into the text of a traceback."""

    sentence: str


@dataclass(frozen=True)
class _Batches(TorchDataset["Batch | _Failure"]):
    """Makes any batch of an epoch by its number."""

    dataset: Dataset
    transform: Transform
    collate: Collate
    plan: EpochPlan

    def __len__(self) -> int:
        return self.plan.batches

    def __getitem__(self, number: int) -> Batch | _Failure:
        try:
            with preserved_globals():
                return self._make(number)
        except SparseVisionError as error:
            return _Failure(str(error))

    def _make(self, number: int) -> Batch:
        samples: list[Sample] = []
        skipped: list[Skipped] = []
        for epoch, position, index in self.plan.batch(number):
            seed_globals(self.plan.seed, epoch, "sample", position)
            try:
                samples.append(replace(self.transform(self.dataset.read(index)), index=index))
            except UnreadableImageError as error:
                skipped.append(Skipped(str(self.dataset.names[index]), str(error)))
        seed_globals(self.plan.seed, self.plan.epoch, "batch", number, self.plan.rank)
        batch = self.collate(samples)
        batch.skipped = [*batch.skipped, *skipped]
        return batch


def batch_of(samples: Sequence[Sample], targets: Any) -> Batch:
    """Returns samples as a batch, images of different sizes padded with zeros at the right and at the bottom."""
    images, sizes = stacked([sample.image for sample in samples])
    return Batch(
        images=images, sizes=sizes, targets=targets, names=[sample.name for sample in samples],
        indices=[sample.index for sample in samples], geometries=[sample.geometry for sample in samples],
    )  # fmt: skip


def stacked(images: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Returns (B, C, H, W), and the valid sizes (B, 2) where not all images are as large as the batch."""
    if not images:
        return torch.zeros(0, 3, 1, 1), None
    if len({image.shape for image in images}) == 1:
        return torch.stack(list(images)), None
    sizes = torch.tensor([image.shape[-2:] for image in images])
    height, width = sizes.amax(0).tolist()
    padded = [F.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2])) for image in images]
    return torch.stack(padded), sizes
