"""Decoded images, or the files of videos, kept in memory, for data sets that fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, cast

from PIL import Image

from sparsevision.data.dataset import Dataset, Record
from sparsevision.data.videos import Video
from sparsevision.errors import UnreadableImageError

_EMPTY = Image.new("RGB", (1, 1))


class _Kept(NamedTuple):
    pixels: bytes
    size: tuple[int, int]
    record: Record  # without its image


class CachedDataset:
    """Another data set whose decoded images stay in memory, 3 bytes a pixel, until `mebibytes` are full.

    Of videos, which are decoded in parts, the files stay.
    Images come out exactly as they went in. Worker processes that are forked share what was there before; `fill` puts
    it there. Processes that are spawned begin with an empty cache of their own. Everything but reading is the data
    set's own.
    """

    def __init__(self, dataset: Dataset, mebibytes: int) -> None:
        self.dataset = dataset
        self.limit = mebibytes << 20
        self.used = 0
        self._kept: dict[int, _Kept | Record] = {}
        self._filled = False

    def __getattr__(self, name: str) -> Any:
        if name == "dataset" or name.startswith("__"):  # asked for by pickle before there is one
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, index: int) -> Record:
        """Returns one image, decoded only the first time; raises UnreadableImageError."""
        found = self._kept.get(index)
        if isinstance(found, Record):
            return found
        if found is not None:
            return replace(found.record, image=Image.frombytes("RGB", found.size, found.pixels))
        record = self.dataset.read(index)
        image, left = record.image, self.limit - self.used - getattr(record.target, "nbytes", 0)
        kept: Record | _Kept
        if isinstance(image, Video):
            if image.bytes > left:
                return record
            data = self.dataset.content(index)
            kept = record = replace(record, image=Video(data, image.name, side=image.side))
        else:
            data = image.tobytes()
            kept = _Kept(data, image.size, replace(record, image=_EMPTY))
        if len(data) <= left:
            self.used = self.limit - left + len(data)
            self._kept[index] = kept
        return record

    def fill(self) -> None:
        """Decodes images until all are kept or the cache is full; what cannot be read is passed over."""
        for index in range(len(self.dataset) if not self._filled else 0):
            before = self.used
            try:
                self.read(index)
            except UnreadableImageError:
                continue
            if self.used == before and index not in self._kept:
                break
        self._filled = True

    def __getstate__(self) -> dict[str, Any]:
        # Sending gigabytes to every new process would cost more than decoding again.
        return {**self.__dict__, "_kept": {}, "used": 0, "_filled": False}


def cached(dataset: Dataset, mebibytes: int) -> Dataset:
    """Returns the data set with a cache of so many MiB; as it is for 0."""
    return cast(Dataset, CachedDataset(dataset, mebibytes)) if mebibytes else dataset
