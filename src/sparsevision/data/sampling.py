"""The images of an epoch, in their order, on each rank; plain numbers, nothing is read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsevision.data.seeding import sequence
from sparsevision.errors import ConfigError, DataError
from sparsevision.wording import count_of


@dataclass(frozen=True)
class EpochPlan:
    """The list of an epoch's samples and how it is dealt out.

    The list holds every image `repeats` times in a row, in random order if `shuffle`. Rank r of `world` takes
    positions r, r + world, ..., so that repeats of an image meet in the joint batch of all ranks. With repeats an
    epoch keeps the length of one without: floor(n / b) * b samples over all ranks for batches of b per rank.
    `drop_last` leaves out what does not fill a batch on every rank; otherwise each rank takes its share and nothing is
    shown twice for padding.
    """

    images: int
    batch_size: int
    epoch: int = 0
    seed: int = 0
    shuffle: bool = False
    repeats: int = 1
    drop_last: bool = False
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"The batch size is {self.batch_size}; it must be at least 1.")
        if self.repeats < 1 or not 0 <= self.rank < self.world or self.epoch < 0:
            raise ConfigError(
                f"A loader needs repeats of at least 1, an epoch from 0 and a rank below the number of processes; it "
                f"got {self.repeats}, {self.epoch} and {self.rank} of {self.world}."
            )
        if self.drop_last and self.batches == 0:
            raise DataError(
                f"{count_of(self.images, 'image does', 'images do')} not fill one batch of {self.batch_size} on each "
                f"of {count_of(self.world, 'process', 'processes')}: lower the batch size."
            )

    @cached_property
    def samples(self) -> int:
        """The number of samples of this rank in the epoch."""
        if self.repeats > 1:
            # A set smaller than a batch is shown whole, where it would otherwise not be shown at all.
            share = (self.images // self.batch_size * self.batch_size or self.images) // self.world
        else:
            share = len(range(self.rank, self.images, self.world))
        if self.drop_last:
            least = min(share, self.images // self.world)
            return least // self.batch_size * self.batch_size
        return share

    @property
    def batches(self) -> int:
        """The number of batches of this rank."""
        return -(-self.samples // self.batch_size)

    def batch(self, number: int) -> list[tuple[int, int, int]]:
        """Returns (epoch, position in the epoch, index of the image) of each sample of this rank's batch `number`."""
        first = number * self.batch_size
        steps = range(first, min(first + self.batch_size, self.samples))
        positions = [self.rank + step * self.world for step in steps]
        return [(self.epoch, position, int(self._order[position // self.repeats])) for position in positions]

    @cached_property
    def _order(self) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.images)
        return np.random.default_rng(sequence(self.seed, self.epoch, "order")).permutation(self.images)
