"""Files of detections that other programs read: COCO's results."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import TracebackType
from typing import Self, TextIO

from sparsevision.data.layouts.coco import read_ids
from sparsevision.errors import DataError
from sparsevision.files import check_folder_of, replacing
from sparsevision.tasks.contract import Task, Writer
from sparsevision.tasks.detection.result import DetectionResult
from sparsevision.types import Skipped


@dataclass(frozen=True)
class CocoNumbers:
    """The ids that a COCO json gives its images, by the ends of their paths, and its categories, by name."""

    source: Path
    images: Mapping[str, int]
    categories: Mapping[str, int]

    def image(self, name: str) -> int | None:
        """Returns an image's id, None if it is not listed: most of the end of its path agrees with the file name."""
        parts = PurePath(name).parts
        ends = ("/".join(parts[first:]) for first in range(len(parts)))
        return next((self.images[end] for end in ends if end in self.images), None)

    def check_classes(self, classes: Sequence[str]) -> None:
        """Raises DataError unless every class has an id."""
        for name in classes:
            if name not in self.categories:
                known = ", ".join(map(repr, [*self.categories][:5]))
                raise DataError(f"{self.source} has no category named {name!r} as the model has; it has {known}.")


def read_numbers(path: Path) -> CocoNumbers:
    """Reads the ids of images and categories from a COCO json; raises DataError if it is none."""
    listed, categories = read_ids(path)
    rows = [(PurePath(name), number) for name, number in listed]
    # A name alone stands for an image where no other folder has one of that name.
    alone = Counter(name.name for name, _ in rows)
    images = {name.name: number for name, number in rows if alone[name.name] == 1}
    return CocoNumbers(path, images | {name.as_posix(): number for name, number in rows}, categories)


class CocoResults(Writer[DetectionResult]):
    """Writes detections as a COCO results json as they come; the file appears under its name when all are written.

    Each entry has image_id, category_id, bbox (x, y, width, height in pixels of the original) and score. With
    `numbers`, ids are those of a COCO json. Without, categories have the ids that the weights carry, and images are
    numbered from 1 in their order; which number is which file stands in a second file, `NAME.images.json`. Images that
    `numbers` does not list are `omitted`.

    Raises:
        ConfigError: the folder is not there.
    """

    def __init__(self, path: Path, numbers: CocoNumbers | None = None) -> None:
        check_folder_of(path, "the detections")
        self.path, self.numbers = path, numbers
        if numbers is None:
            [names] = beside_coco(path)
            self.note = (
                f"Images are numbered from 1 in {path.name}, and {names.name} says which is which: --annotations takes "
                "the ids of a COCO json."
            )
        self.omitted: list[Skipped] = []
        self._names: list[str] = []
        self._rows = 0
        self._open = ExitStack()

    def __enter__(self) -> Self:
        part = self._open.enter_context(replacing(self.path))
        self._file: TextIO = self._open.enter_context(part.open("w", encoding="utf-8"))
        return self

    def add(self, result: DetectionResult) -> None:
        """Takes the detections of one image."""
        self._names.append(result.name)
        image = len(self._names) if self.numbers is None else self.numbers.image(result.name)
        if image is None:
            self.omitted.append(Skipped(result.name, f"{result.name} is not listed in the annotations."))
            return
        for label, row in zip(result.labels, result.to_coco(image), strict=True):
            if self.numbers is not None:
                row["category_id"] = self.numbers.categories[label]
            self._file.write(("[\n" if not self._rows else ",\n") + json.dumps(row))
            self._rows += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._file.write("\n]\n" if self._rows else "[]\n")
        self._open.__exit__(kind, error, trace)
        if kind is None:
            self._write_names()

    def _write_names(self) -> None:
        if self.numbers is None:
            rows = [{"id": number, "file_name": name} for number, name in enumerate(self._names, start=1)]
            with replacing(*beside_coco(self.path)) as part:
                part.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def open_coco(path: Path, task: Task, *, annotations: Path | None = None) -> CocoResults:
    """Opens a file of results; `annotations` is a COCO json whose ids are used.

    Raises DataError if the file of annotations cannot be read, or has no category for one of the classes.
    """
    numbers = read_numbers(annotations) if annotations else None
    if numbers is not None:
        numbers.check_classes(task.classes)
    return CocoResults(path, numbers)


def beside_coco(path: Path, *, annotations: Path | None = None) -> tuple[Path, ...]:
    """Returns the file of names that is written where no annotations are given."""
    return () if annotations else (path.with_suffix(".images.json"),)
