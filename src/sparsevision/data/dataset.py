"""What every data set of pictures answers, whatever it lies in."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, cast, get_args, runtime_checkable

import numpy as np
from PIL import Image

from sparsevision.errors import DataError

Split = Literal["train", "val", "all"]
ObjectSplit = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Objects:
    """The things that a picture shows: `boxes` (N, 4) float64 (x0, y0, x1, y1) as fractions of the upright picture.

    `labels` (N,) are class indices; `areas` (N,) shares of the picture, of the thing itself where its outline is known;
    `crowds` (N,) mark boxes around many things at once, of which none is taught and none counts as missed.
    """

    boxes: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    crowds: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: np.ndarray) -> Objects:
        """Returns some of the things, by a mask or by indices."""
        return Objects(self.boxes[chosen], self.labels[chosen], self.areas[chosen], self.crowds[chosen])


@dataclass(frozen=True)
class Record:
    """One decoded picture: upright RGB, the index of its class, and its name for messages and results.

    `original_size` is (height, width) before any reduction while decoding; `box` (x0, y0, x1, y1), as fractions of the
    picture, says where the labelled thing is, where the data set knows it. A picture of a data set for detection has
    `objects`, and the label -1.
    """

    image: Image.Image
    label: int
    name: str
    original_size: tuple[int, int] | None = None
    box: tuple[float, float, float, float] | None = None
    objects: Objects | None = None


@runtime_checkable
class Dataset(Protocol):
    """Labelled pictures by index.

    `classes` names the labels; `labels` has one per picture and costs no decoding; `fingerprint` changes when the list
    of pictures does; `origin` says in a sentence where they come from and how they were split, for the run's record.
    `read` raises UnreadablePictureError for a picture that cannot be decoded.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the labels."""

    @property
    def labels(self) -> Sequence[int]:
        """The class index of every picture."""

    @property
    def names(self) -> Sequence[str]:
        """What messages call each picture: a path, or a place in a shard."""

    @property
    def fingerprint(self) -> str:
        """A hash of the list of pictures and classes."""

    @property
    def origin(self) -> str:
        """A sentence for the run's record."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Record:
        """Decodes one picture."""

    def content(self, index: int) -> bytes:
        """The picture's file, undecoded: equal bytes are the same picture. Raises UnreadablePictureError."""


@runtime_checkable
class ObjectDataset(Dataset, Protocol):
    """A `Dataset` whose records have `objects`; `labels` has the commonest class of every picture, -1 without objects.

    `category_ids` are the data set's own numbers of the classes, in the order of `classes`; `layout` says in a word how
    it lies on disk.
    """

    @property
    def layout(self) -> str:
        """How the data set lies on disk, in a word."""

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The data set's own number of every class."""

    def objects(self, index: int) -> Objects:
        """What a picture shows, without decoding it."""


def commonest(objects: Objects) -> int:
    """Returns the class that most of the things are of, -1 where there are none."""
    return Counter(objects.labels.tolist()).most_common(1)[0][0] if len(objects) else -1


def fingerprint_of(classes: Iterable[str], rows: Iterable[tuple[object, ...]]) -> str:
    """Hashes classes and rows (names, labels, sizes) into 16 hexadecimal digits."""
    digest = hashlib.sha256("\0".join(classes).encode())
    for row in rows:
        digest.update(("\n" + "\0".join(map(str, row))).encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def check_split(split: str) -> Split:
    """Returns the split if there is one of that name."""
    if split not in get_args(Split):
        raise DataError(f"The split {split!r} does not exist: use 'train', 'val' or 'all'.")
    return cast(Split, split)


def check_object_split(split: str) -> ObjectSplit:
    """Returns the split of a data set for detection if there is one of that name."""
    if split not in get_args(ObjectSplit):
        raise DataError(f"The split {split!r} does not exist: use 'train', 'val' or 'test'.")
    return cast(ObjectSplit, split)
