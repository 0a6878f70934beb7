"""Images in files and the things that they show: what all layouts of data sets for detection have in common."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any, NamedTuple, Self
from unicodedata import normalize
from urllib.parse import unquote

import numpy as np

from sparsevision.data.dataset import Record, fingerprint_of
from sparsevision.data.layouts.labelled_files import file_digest
from sparsevision.data.objects import Objects, commonest
from sparsevision.data.reading import decode_image, read_bytes
from sparsevision.data.texts import composed
from sparsevision.errors import DataError, MissingExtraError, UnreadableImageError
from sparsevision.wording import count_of

# Annotations are rounded: what leaves the image by less than this share of its side does so for that.
_ROUNDING = 0.005


class Annotation(NamedTuple):
    """A thing as it was annotated: corners (x0, y0, x1, y1) and area as fractions of the image, finite."""

    corners: Sequence[float]
    label: int
    area: float
    crowd: bool = False


class AnnotatedImages:
    """Images of one split with boxes; a `Dataset` whose targets are `Objects`.

    `things` has what every image shows. Boxes are clipped to the image, and those without area are left out:
    `sticking_out` and `without_area` have the index of the image for each such box. `image_ids` and `category_ids`
    are the data set's own numbers; `declared_sizes` the (width, height) in pixels that its annotations give an image,
    None where they give none. `layout` says in a word how it lies on disk, and `notes` in sentences how annotations
    were read where that is not plain. Raises DataError where a class's name is not text.
    """

    layout = ""

    def __init__(
        self, classes: Sequence[str], paths: Sequence[Path], things: Sequence[Sequence[Annotation]], *,
        names: Sequence[str], origin: str, category_ids: Sequence[int] | None = None,
        image_ids: Sequence[int] | None = None, declared_sizes: Sequence[tuple[float, float] | None] | None = None,
        side: int | None = None, notes: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.classes, self.notes = tuple(map(composed, classes)), list(notes)
        for name in self.classes:
            if any("\ud800" <= letter <= "\udfff" for letter in name):  # half a letter, as JSON may have it
                raise DataError(f"The name of the class {name!r} is not UTF-8: rename it.")
        self.category_ids = tuple(range(len(self.classes)) if category_ids is None else category_ids)
        self.image_ids = list(range(len(paths)) if image_ids is None else image_ids)
        self.names, self.origin, self.side = list(names), origin, side
        self.declared_sizes = list(declared_sizes or [None] * len(paths))
        self.without_area: list[int] = []
        self.sticking_out: list[int] = []
        self._paths = list(paths)
        self._objects = [self._clipped(index, shown) for index, shown in enumerate(things)]

    @property
    def labels(self) -> Sequence[int]:
        """The commonest class of every image, -1 without objects: what a stratified choice of images goes by."""
        return [commonest(objects) for objects in self._objects]

    @property
    def most_objects(self) -> int:
        """The largest number of objects in an image, crowds apart."""
        return max((int((~objects.crowds).sum()) for objects in self._objects), default=0)

    @property
    def files(self) -> list[str]:
        """The files that images are read from."""
        return list(map(os.fspath, self._paths))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the classes, the images and their boxes."""
        boxes = (objects.boxes.tobytes().hex() + objects.labels.tobytes().hex() for objects in self._objects)
        return fingerprint_of(self.classes, zip(self.names, boxes, strict=True))

    def objects(self, index: int) -> Objects:
        """Returns what an image shows, without decoding it."""
        return self._objects[index]

    def path(self, index: int) -> Path:
        """Returns where an image lies."""
        return self._paths[index]

    def read(self, index: int) -> Record:
        """Decodes one image; raises UnreadableImageError."""
        path = os.fspath(self.path(index))
        image, size = decode_image(path, side=self.side)
        return Record(image, self._objects[index], path, original_size=size)

    def content(self, index: int) -> bytes:
        """The bytes of the image's file; raises UnreadableImageError."""
        return read_bytes(os.fspath(self.path(index)))

    def digest(self, index: int) -> bytes:
        """Identifies an image by the beginning of its file and its size."""
        path = os.fspath(self.path(index))
        return file_digest(path, os.path.getsize(path) if os.path.exists(path) else 0)

    def part(self, indices: Sequence[int], origin: str) -> Self:
        """Returns the data set of some of the images."""
        chosen, places = copy(self), {index: place for place, index in enumerate(indices)}
        chosen.__dict__.pop("fingerprint", None)
        for name in ("names", "image_ids", "declared_sizes", "_paths", "_objects"):
            setattr(chosen, name, [getattr(self, name)[index] for index in indices])
        for name in ("without_area", "sticking_out"):
            setattr(chosen, name, [places[index] for index in getattr(self, name) if index in places])
        chosen.origin = origin
        return chosen

    def _clipped(self, index: int, things: Sequence[Annotation]) -> Objects:
        """Joins what an image shows."""
        corners = np.array([thing.corners for thing in things], dtype=np.float64).reshape(-1, 4)
        boxes = corners.clip(0, 1)
        left = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        outside = ((corners < -_ROUNDING) | (corners > 1 + _ROUNDING)).any(axis=1)
        self.without_area += [index] * int((~left).sum())
        self.sticking_out += [index] * int((left & outside).sum())
        return Objects(
            boxes,
            np.array([thing.label for thing in things], dtype=np.int64),
            np.array([thing.area for thing in things], dtype=np.float64),
            np.array([thing.crowd for thing in things], dtype=bool),
        )[left]


def annotations_of(boxes: np.ndarray, labels: Sequence[int], crowds: Sequence[bool] = ()) -> list[Annotation]:
    """Returns the annotations of boxes (N, 4), corners as fractions of the image, whose areas are the boxes'."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    rows = zip(boxes.tolist(), labels, areas, crowds or [False] * len(boxes), strict=True)
    return [Annotation(*row) for row in rows]


def measured_size(path: Path) -> tuple[float, float]:
    """Returns an image's upright (width, height); 1 x 1 for one that will be skipped when it is read."""
    try:
        height, width = decode_image(os.fspath(path), side=1)[1]
    except UnreadableImageError:
        return 1.0, 1.0
    return float(width), float(height)


def located(folder: Path, name: str) -> Path:
    """Returns the path of a file that annotations name, also as other systems and servers write it.

    Names may have backslashes between folders, "%20" for a space, and any spelling in Unicode. A file that is not found
    keeps the name that it was given.
    """
    if name.isascii() and "\\" not in name and "%" not in name:
        return folder / name
    return next((folder / each for each in _spellings(name) if os.path.exists(folder / each)), folder / name)


def located_image(folder: Path, name: str) -> Path:
    """Returns the path of an image that annotations name, as `located` does.

    Where there is none, folders that the name begins with, as those of another machine, are left out one by one, and
    the case of the image's own name does not count.
    """
    # Not Path.exists, which raises for names that are too long.
    if os.path.exists(path := located(folder, name)):
        return path
    parts = PurePath(unquote(name.replace("\\", "/"))).parts
    ends = [folder.joinpath(*parts[first:]) for first in range(1 if name.startswith("/") else 0, len(parts))]
    tried = (each for end in ends for each in (end, end.parent / _names_in(end.parent).get(end.name.casefold(), "")))
    return next((each for each in tried if os.path.isfile(each)), path)


@lru_cache(maxsize=64)
def _names_in(folder: Path) -> dict[str, str]:
    """Returns the names of a folder's files by their names without case."""
    try:
        return {name.casefold(): name for name in sorted(os.listdir(folder))}
    except OSError:
        return {}


def named_twice(paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Returns a sentence about images that annotations list more than once."""
    first: dict[Path, str] = {}
    twice = [name for path, name in zip(paths, names, strict=True) if first.setdefault(path, name) is not name]
    what = count_of(len(twice), "image is", "images are")
    return [f"{what} listed more than once, first {twice[0][:80]!r}."] if twice else []


def _spellings(name: str) -> Iterable[str]:
    for parts in (name, name.replace("\\", "/")):
        for decoded in (parts, unquote(parts)):
            yield from (decoded, normalize("NFC", decoded), normalize("NFD", decoded))


def supervision_reader(layout: str, module: str, name: str) -> Callable[..., Any]:
    """Returns supervision's reader of one file of a layout; raises MissingExtraError where it is not installed.

    Its readers of whole data sets open every image, and stop at the first that is damaged.
    """
    try:
        with warnings.catch_warnings():
            # It recommends OpenCV, which nothing that is used here calls.
            warnings.simplefilter("ignore")
            reader: Callable[..., Any] = getattr(import_module(f"supervision.dataset.formats.{module}"), name)
    except ImportError:
        raise MissingExtraError("supervision", f"A data set in {layout}'s layout") from None
    return reader
