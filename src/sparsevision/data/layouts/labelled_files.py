"""Files of one kind with a label each, as folders or lists give it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy
from functools import cached_property, lru_cache
from pathlib import Path
from typing import ClassVar, Self

from sparsevision.data.dataset import Record, fingerprint_of
from sparsevision.data.file_kinds import IMAGES, FileKind
from sparsevision.data.reading import read_bytes
from sparsevision.data.subset import HEAD_BYTES, digest_of


class LabelledFiles:
    """Files under a folder with a label each; a `Dataset` once a layout has filled its fields.

    `names` are paths from `root`. `side` is the short side below which a JPEG is not reduced while decoding. `notes`
    says in sentences what is not read.
    """

    kind: ClassVar[FileKind] = IMAGES
    classes: tuple[str, ...]
    names: list[str]
    labels: list[int]
    notes: list[str]
    origin: str
    _sizes: list[int]

    def __init__(self, root: str | os.PathLike[str], side: int | None) -> None:
        self.root, self.side = Path(root), side

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the classes, and with the path, size or label of any image."""
        return fingerprint_of(self.classes, zip(self.names, self.labels, self._sizes, strict=True))

    @property
    def files(self) -> list[str]:
        """The files that images are read from."""
        return [os.path.join(self.root, name) for name in self.names]

    def path(self, index: int) -> Path:
        """Returns where an image lies."""
        return self.root / self.names[index]

    def read(self, index: int) -> Record:
        """Decodes one image; raises UnreadableImageError."""
        path = os.fspath(self.path(index))
        image, size = self.kind.open(path, path, self.side)
        return Record(image, self.labels[index], path, original_size=size)

    def content(self, index: int) -> bytes:
        """The bytes of the image's file; raises UnreadableImageError."""
        return read_bytes(os.fspath(self.path(index)))

    def digest(self, index: int) -> bytes:
        """Identifies an image by the beginning of its file and its size."""
        return file_digest(os.fspath(self.path(index)), self._sizes[index])

    def part(self, indices: Sequence[int], origin: str) -> Self:
        """Returns the data set of some of the images."""
        chosen = copy(self)
        chosen.__dict__.pop("fingerprint", None)
        for name in ("names", "labels", "_sizes"):
            setattr(chosen, name, [getattr(self, name)[index] for index in indices])
        chosen.origin = origin
        return chosen


@lru_cache(maxsize=1 << 18)
def file_digest(path: str, size: int) -> bytes:
    """Identifies a file by its beginning and its size."""
    try:
        with open(path, "rb") as file:
            return digest_of(file.read(HEAD_BYTES), size)
    except OSError:
        # It will be skipped, and named, when it is its turn to be read.
        return digest_of(os.path.basename(path).encode(errors="surrogateescape"), size)
