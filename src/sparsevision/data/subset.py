"""Parts of a data set: held out by a hash, chosen, or with its labels counted by the classes of a model."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sparsevision.data.dataset import Dataset, Record
from sparsevision.errors import ConfigError

HEAD_BYTES = 1 << 16
Relabel = Callable[[Any, Sequence[int]], Any]


class Subset:
    """The images `indices` of another data set; a `Dataset`.

    `order` gives the classes of a model: labels are then indices into it, and `relabel` turns targets (see
    `Task.relabel`).
    """

    def __init__(
        self, dataset: Dataset, indices: Sequence[int], *, origin: str | None = None,
        order: Sequence[str] | None = None, relabel: Relabel | None = None,
    ) -> None:  # fmt: skip
        self.dataset, self.indices, self._relabel = dataset, indices, relabel
        self.classes = tuple(order or dataset.classes)
        places = {name: place for place, name in enumerate(self.classes)}
        self._own = [places[name] for name in dataset.classes]
        found = (dataset.labels[index] for index in indices)
        self.labels = [self._own[label] if label >= 0 else label for label in found]
        self.names = [dataset.names[index] for index in indices]
        self.origin = origin or dataset.origin
        chosen = hashlib.sha256(repr((list(indices), self.classes)).encode()).hexdigest()[:8]
        self.fingerprint = f"{dataset.fingerprint}-{chosen}"

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> Record:
        """Returns one image; raises UnreadableImageError."""
        record = self.dataset.read(self.indices[index])
        return record if self._relabel is None else replace(record, target=self._relabel(record.target, self._own))

    def content(self, index: int) -> bytes:
        """Returns the bytes of the image's file."""
        return self.dataset.content(self.indices[index])


def digest_of(head: bytes, size: int) -> bytes:
    """Identifies a file by its size and its first 64 KiB, which two different photographs never share."""
    return hashlib.blake2b(head, digest_size=16, salt=size.to_bytes(8, "little")).digest()


def held_out(digests: Sequence[bytes], labels: Sequence[int], fraction: float, seed: int) -> list[bool]:
    """Returns for each image whether it is held out: `fraction` of every class, drawn by the hash of its content.

    Neither order nor names matter, and copies of one image in a class stay on one side. A class of two or more
    different images has at least one on each side; a single one is for training.
    """
    by_class: dict[int, set[bytes]] = defaultdict(set)
    for digest, label in zip(digests, labels, strict=True):
        by_class[label].add(digest)
    key = (seed & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little")
    chosen: dict[int, set[bytes]] = {}
    for label, distinct in by_class.items():
        drawn = sorted(distinct, key=lambda digest: hashlib.blake2b(digest, key=key, digest_size=16).digest())
        count = min(max(round(fraction * len(drawn)), 1), len(drawn) - 1)
        chosen[label] = set(drawn[:count])
    return [digest in chosen[label] for digest, label in zip(digests, labels, strict=True)]


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
