"""Images in files and the things that they show: what all layouts of data sets for detection have in common."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sparsevision.data.dataset import Record, fingerprint_of
from sparsevision.data.layouts.class_folders import SPLIT_FOLDERS
from sparsevision.data.objects import Objects, commonest
from sparsevision.data.reading import decode_image, read_bytes
from sparsevision.errors import DataError, MissingExtraError

SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {**SPLIT_FOLDERS, "test": ("test",)}
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
    None where they give none. `layout` says in a word how it lies on disk. Raises DataError where a class's name is not
    text.
    """

    layout = ""

    def __init__(
        self, classes: Sequence[str], paths: Sequence[Path], things: Sequence[Sequence[Annotation]], *,
        names: Sequence[str], origin: str, category_ids: Sequence[int] | None = None,
        image_ids: Sequence[int] | None = None, declared_sizes: Sequence[tuple[float, float] | None] | None = None,
        side: int | None = None,
    ) -> None:  # fmt: skip
        self.classes = tuple(classes)
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
