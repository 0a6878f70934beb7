"""The contract of a data set of images, whatever its layout on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast, get_args, runtime_checkable

from sparsevision.errors import DataError

Split = Literal["train", "val", "test", "all"]


@dataclass(frozen=True)
class Record:
    """One decoded image: upright RGB, its target as the layout gives it, and its name for messages and results.

    Of videos `image` is the video, which is decoded where it is asked for (`videos.FrameSource`). The target is the
    index of a class, `Objects`, or whatever else a layout holds. `original_size` is (height, width) before any
    reduction while decoding.
    """

    image: Any
    target: Any
    name: str
    original_size: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Opening:
    """Options of opening a split of a data set.

    What is not divided on disk is divided by `seed`, `val_fraction` of each class for "val". Above a short side of
    `side` pixels a JPEG may be reduced while decoding. Up to `cache` MiB of decoded images are kept in memory.
    """

    seed: int = 0
    val_fraction: float = 0.2
    side: int | None = None
    cache: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.val_fraction < 1:
            raise DataError(f"The share for validation is {self.val_fraction}: give a number between 0 and 1.")


@runtime_checkable
class Dataset(Protocol):
    """Annotated images by index.

    `read` raises UnreadableImageError for an image that cannot be decoded. Layouts may offer more, which their tasks
    know; data sets of files also `digest(index)`, which identifies an image without reading all of it,
    `part(indices, origin)`, the data set of some of the images, `files`, the paths that are read, and `notes`,
    sentences about what is not read.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""

    @property
    def labels(self) -> Sequence[int]:
        """One class an image, found without decoding, for choices in equal shares; -1 where an image has none."""

    @property
    def names(self) -> Sequence[str]:
        """The name of each image in messages: a path, or a place in a shard."""

    @property
    def fingerprint(self) -> str:
        """A hash of the list of images and classes: it changes when one of them does."""

    @property
    def origin(self) -> str:
        """A sentence for the run's record: where the images come from, and how they were divided."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Record:
        """Decodes one image."""

    def content(self, index: int) -> bytes:
        """Returns the image's file, undecoded: equal bytes are the same image. Raises UnreadableImageError."""


def fingerprint_of(classes: Iterable[str], rows: Iterable[tuple[object, ...]]) -> str:
    """Hashes classes and rows (names, labels, sizes) into 16 hexadecimal digits."""
    digest = hashlib.sha256("\0".join(classes).encode())
    for row in rows:
        digest.update(("\n" + "\0".join(map(str, row))).encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def files_of(dataset: Any) -> list[str]:
    """Returns the files that the images of a data set, or of what it is a part of or joined from, are read from."""
    parts = [*getattr(dataset, "parts", ()), *([dataset.dataset] if hasattr(dataset, "dataset") else [])]
    return [*getattr(dataset, "files", ()), *(path for part in parts for path in files_of(part))]


def check_split(split: str) -> Split:
    """Returns the split if there is one of that name."""
    if split not in get_args(Split):
        raise DataError(f"The split {split!r} does not exist: use 'train', 'val', 'test' or 'all'.")
    return cast(Split, split)
