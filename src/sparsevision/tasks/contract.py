"""What the loop asks of a task, and what the commands ask of its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from sparsevision.types import Batch, ClassFacts, Control, Result, Sample


class Report(Protocol):
    """How well weights do on a labelled data set."""

    @property
    def pictures(self) -> int:
        """How many pictures were scored."""

    @property
    def score(self) -> float:
        """The number by which one set of weights counts as better than another."""

    def scalars(self) -> dict[str, float]:
        """Returns the measures that are one number."""

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON takes it."""

    def headline(self) -> str:
        """Says the measures that matter in one line."""

    def facts(self) -> ClassFacts:
        """Returns what the weights that earned this report are to carry of their classes."""


class Metrics(Protocol):
    """Collects outputs against targets, and joins what the processes of a run collected."""

    def to(self, device: Any) -> Metrics:
        """Moves what was collected to a device."""

    def update(self, output: Any, batch: Batch) -> None:
        """Adds a batch."""

    def compute(self) -> Report:
        """Returns the report over everything that was added, on all processes."""


class Task(Protocol):
    """What differs between recognising classes, boxes and masks.

    `options` names what a user may choose of how outputs are read.
    """

    classes: tuple[str, ...]
    score_name: str

    @property
    def options(self) -> Mapping[str, Control]:
        """The options of how outputs become results, by name."""

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Puts samples together; an empty list gives an empty batch."""

    def blank(self, channels: int, size: int) -> Batch:
        """Returns a batch of one picture that shows nothing, to stand in where none could be read."""

    def count(self, batch: Batch) -> Tensor:
        """Returns what the parts of the loss are averaged over: (k,) numbers, to be added up over batches."""

    def loss(self, output: Any, batch: Batch, count: Tensor) -> dict[str, Tensor]:
        """Returns the terms whose sum is the loss; sums over the batch are divided by a step's whole `count`."""

    def metrics(self) -> Metrics:
        """Returns a fresh accumulator of measures."""

    def reading(self, **options: Any) -> Callable[[Any, Batch], Sequence[Result]]:
        """Returns what turns an output and its batch into one result a picture.

        Raises ConfigError for options that make no sense.
        """
