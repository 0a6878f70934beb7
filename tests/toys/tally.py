"""A layout of data of its own: images beside `tally.csv` with a line `file,count,split` for each."""

from __future__ import annotations

import csv
from pathlib import Path

from sparsevision.data.dataset import Dataset, Opening, Record, fingerprint_of
from sparsevision.data.reading import decode_image, read_bytes
from sparsevision.errors import DataError

UNMARKED = False


class TallyImages:
    """Images of one split, whose target is the number of their squares; a `Dataset`."""

    classes = ("squares",)

    def __init__(self, root: Path, split: str, side: int | None) -> None:
        self.root, self.side = root, side
        with (root / "tally.csv").open(newline="") as file:
            rows = [row for row in csv.reader(file) if split in ("all", row[2])]
        if not rows:
            raise DataError(f"{root / 'tally.csv'} lists no image of the split {split!r}.")
        self.names = [str(root / row[0]) for row in rows]
        self.counts = [float(row[1]) for row in rows]
        self.labels = [int(count) for count in self.counts]
        self.fingerprint = fingerprint_of(self.classes, zip(self.names, self.counts, strict=True))
        self.origin = f"{root}, split {split!r}"

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Record:
        image, size = decode_image(self.names[index], side=self.side)
        return Record(image, self.counts[index], self.names[index], original_size=size)

    def content(self, index: int) -> bytes:
        return read_bytes(self.names[index])


def recognises(spec: str) -> bool:
    return (Path(spec) / "tally.csv").is_file()


def splits(spec: str) -> tuple[str, ...]:
    return ("train", "val")


def open_split(spec: str, split: str | None, opening: Opening) -> Dataset:
    return TallyImages(Path(spec), split or "all", opening.side)
