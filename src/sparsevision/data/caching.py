"""Decoded pictures kept in memory, for data sets that fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from PIL import Image

from sparsevision.data.dataset import Dataset, ObjectDataset, Objects, Record
from sparsevision.errors import UnreadablePictureError


class _Kept(NamedTuple):
    pixels: bytes
    size: tuple[int, int]
    label: int
    name: str
    original_size: tuple[int, int] | None
    box: tuple[float, float, float, float] | None
    objects: Objects | None


class CachedDataset:
    """Another data set whose decoded pictures stay in memory, 3 bytes a pixel, until `mebibytes` are full.

    Pictures come out exactly as they went in. Worker processes that are forked share what was there before; `fill` puts
    it there. Processes that are spawned begin with an empty cache of their own.
    """

    def __init__(self, dataset: Dataset, mebibytes: int) -> None:
        self.dataset = dataset
        self.limit = mebibytes << 20
        self.used = 0
        self._kept: dict[int, _Kept] = {}
        self._filled = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the labels."""
        return self.dataset.classes

    @property
    def labels(self) -> Sequence[int]:
        """The class index of every picture."""
        return self.dataset.labels

    @property
    def names(self) -> Sequence[str]:
        """What the data set calls its pictures."""
        return self.dataset.names

    @property
    def fingerprint(self) -> str:
        """That of the data set: the cache changes nothing."""
        return self.dataset.fingerprint

    @property
    def origin(self) -> str:
        """Where the pictures come from."""
        return self.dataset.origin

    def __len__(self) -> int:
        return len(self.dataset)

    def content(self, index: int) -> bytes:
        """The bytes of the picture's file."""
        return self.dataset.content(index)

    def read(self, index: int) -> Record:
        """Returns one picture, decoded only the first time; raises UnreadablePictureError."""
        found = self._kept.get(index)
        if found is not None:
            image = Image.frombytes("RGB", found.size, found.pixels)
            return Record(image, *found[2:])
        record = self.dataset.read(index)
        pixels = record.image.tobytes()
        if self.used + len(pixels) <= self.limit:
            self.used += len(pixels)
            self._kept[index] = _Kept(
                pixels, record.image.size, record.label, record.name, record.original_size, record.box, record.objects
            )
        return record

    def fill(self) -> None:
        """Decodes pictures until all are kept or the cache is full; what cannot be read is passed over."""
        if self._filled:
            return
        for index in range(len(self.dataset)):
            before = self.used
            try:
                self.read(index)
            except UnreadablePictureError:
                continue
            if self.used == before and index not in self._kept:
                break
        self._filled = True

    def __getstate__(self) -> dict[str, Any]:
        # Sending gigabytes to every new process would cost more than decoding again.
        return {**self.__dict__, "_kept": {}, "used": 0, "_filled": False}


class CachedObjects(CachedDataset):
    """The same for pictures with boxes."""

    dataset: ObjectDataset

    def __init__(self, dataset: ObjectDataset, mebibytes: int) -> None:
        super().__init__(dataset, mebibytes)

    @property
    def layout(self) -> str:
        """How the data set lies on disk."""
        return self.dataset.layout

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The data set's own number of every class."""
        return self.dataset.category_ids

    def objects(self, index: int) -> Objects:
        """What a picture shows."""
        return self.dataset.objects(index)
