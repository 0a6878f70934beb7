"""A part of a data set, or one whose labels are counted by a model's classes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sparsevision.checkpoints.labels import imagenet_labels, imagenet_synsets
from sparsevision.data.dataset import Dataset, Record
from sparsevision.data.splitting import held_out
from sparsevision.errors import ConfigError


@dataclass(frozen=True)
class Selection:
    """The pictures `indices` of another data set, with labels as indices into `classes`; a `Dataset` itself."""

    dataset: Dataset
    indices: Sequence[int]
    classes: tuple[str, ...]
    origin: str

    @cached_property
    def labels(self) -> list[int]:
        """The class index of every picture."""
        return [self._own_label(self.dataset.labels[index]) for index in self.indices]

    @cached_property
    def names(self) -> list[str]:
        """What the data set calls its pictures."""
        return [self.dataset.names[index] for index in self.indices]

    @property
    def fingerprint(self) -> str:
        """Changes with the data set and with what is selected of it."""
        chosen = hashlib.sha256(repr((list(self.indices), self.classes)).encode()).hexdigest()[:8]
        return f"{self.dataset.fingerprint}-{chosen}"

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> Record:
        """Returns one picture; raises UnreadablePictureError."""
        record = self.dataset.read(self.indices[index])
        objects = record.objects
        if objects is not None:
            objects = replace(objects, labels=np.array(self._own_labels, dtype=np.int64)[objects.labels])
        return replace(record, label=self._own_label(record.label), objects=objects)

    def content(self, index: int) -> bytes:
        """The bytes of the picture's file."""
        return self.dataset.content(self.indices[index])

    def _own_label(self, label: int) -> int:
        # A picture of no objects has no label.
        return self._own_labels[label] if label >= 0 else label

    @cached_property
    def _own_labels(self) -> list[int]:
        places = {name: place for place, name in enumerate(self.classes)}
        return [places[name] for name in self.dataset.classes]


def divided(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Divides a data set into what is learned from and a `share` of every class that is not, by the hash of names."""
    digests = [hashlib.sha256(str(name).encode(errors="surrogateescape")).digest() for name in dataset.names]
    held = held_out(digests, dataset.labels, share, seed)
    parts = []
    for wanted, words in ((False, "without"), (True, "only")):
        indices = [index for index, is_held in enumerate(held) if is_held == wanted]
        origin = f"{dataset.origin}; {words} the {share:.0%} of each class that were held out by name hash, seed {seed}"
        parts.append(Selection(dataset, indices, dataset.classes, origin))
    return parts[0], parts[1]


def labelled_as(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """Counts a data set's labels by a model's classes, which must include the data set's by name.

    A model that names its outputs as ImageNet's classes takes the synset numbers of ImageNet's folders, too.
    """
    if tuple(classes) == dataset.classes:
        return dataset
    if tuple(classes) == imagenet_labels() and set(dataset.classes) <= set(imagenet_synsets()):
        classes = imagenet_synsets()
    strange = [name for name in dataset.classes if name not in set(classes)]
    if strange:
        shown = ", ".join(map(repr, strange[:3]))
        raise ConfigError(
            f"The data set has {len(strange)} classes that the model does not know ({shown} among them); "
            f"it knows {len(classes)}: name them as the model does."
        )
    return Selection(dataset, range(len(dataset)), tuple(classes), dataset.origin)
