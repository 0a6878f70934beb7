"""A part of a data set, or one whose labels are counted by a model's classes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from sparsevision.data.dataset import Dataset, DatasetWrapper, Record
from sparsevision.data.splitting import held_out
from sparsevision.errors import ConfigError

Relabel = Callable[[Any, Sequence[int]], Any]


class Subset(DatasetWrapper):
    """The images `indices` of another data set.

    `order` gives the classes of a model; labels are then indices into it, and `relabel` turns targets (see
    `Task.relabel`).
    """

    def __init__(
        self,
        dataset: Dataset,
        indices: Sequence[int],
        *,
        origin: str | None = None,
        order: Sequence[str] | None = None,
        relabel: Relabel | None = None,
    ) -> None:
        super().__init__(dataset)
        self.indices = indices
        self._origin, self._order, self._relabel = origin, tuple(order or dataset.classes), relabel

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self._order

    @property
    def origin(self) -> str:
        """A sentence for the run's record."""
        return self._origin or self.dataset.origin

    @cached_property
    def labels(self) -> list[int]:
        """One class an image."""
        found = (self.dataset.labels[index] for index in self.indices)
        return [self._own_labels[label] if label >= 0 else label for label in found]

    @cached_property
    def names(self) -> list[str]:
        """The names of the images."""
        return [self.dataset.names[index] for index in self.indices]

    @property
    def fingerprint(self) -> str:
        """Changes with the data set and with the chosen part of it."""
        chosen = hashlib.sha256(repr((list(self.indices), self.classes)).encode()).hexdigest()[:8]
        return f"{self.dataset.fingerprint}-{chosen}"

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> Record:
        """Returns one image; raises UnreadablePictureError."""
        record = self.dataset.read(self.indices[index])
        if self._relabel is None:
            return record
        return replace(record, target=self._relabel(record.target, self._own_labels))

    def content(self, index: int) -> bytes:
        """Returns the bytes of the image's file."""
        return self.dataset.content(self.indices[index])

    @cached_property
    def _own_labels(self) -> list[int]:
        places = {name: place for place, name in enumerate(self.classes)}
        return [places[name] for name in self.dataset.classes]


def divided(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Divides a data set into a part to learn from and a held-out `share` of every class, by the hash of names."""
    digests = [hashlib.sha256(str(name).encode(errors="surrogateescape")).digest() for name in dataset.names]
    held = held_out(digests, dataset.labels, share, seed)
    parts = []
    for wanted, words in ((False, "without"), (True, "only")):
        indices = [index for index, is_held in enumerate(held) if is_held == wanted]
        origin = f"{dataset.origin}; {words} the {share:.0%} of each class that were held out by name hash, seed {seed}"
        parts.append(Subset(dataset, indices, origin=origin))
    return parts[0], parts[1]


def labelled_as(
    dataset: Dataset, classes: Sequence[str], relabel: Relabel, synonyms: Sequence[Sequence[str]] = ()
) -> Dataset:
    """Counts a data set's labels by a model's classes, which must include the data set's by name.

    `synonyms` are other names of all of the classes, in the same order, as the numbers of ImageNet's folders.
    """
    if tuple(classes) == dataset.classes:
        return dataset
    order = next((names for names in synonyms if set(dataset.classes) <= set(names)), classes)
    strange = [name for name in dataset.classes if name not in set(order)]
    if strange:
        shown = ", ".join(map(repr, strange[:3]))
        raise ConfigError(
            f"The data set has {len(strange)} classes that the model does not know ({shown} among them); "
            f"it knows {len(classes)}: name them as the model does."
        )
    return Subset(dataset, range(len(dataset)), order=order, relabel=relabel)
