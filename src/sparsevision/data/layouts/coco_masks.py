"""Outlines in COCO's json, as polygons or in run lengths: drawn as a mask when an image is read."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from sparsevision.data.dataset import Dataset, Opening, Record, fingerprint_of
from sparsevision.data.layouts.coco import CocoImages, find_annotations
from sparsevision.data.masks import BACKGROUND, IGNORED, MOST_CLASSES
from sparsevision.data.reading import MAX_PIXELS
from sparsevision.errors import DataError, MissingExtraError, UnreadableImageError, first_line

UNMARKED = False
# COCO-Stuff's category for what is a thing and no stuff: such data sets annotate every pixel that counts.
_OTHER = "other"
_SPLITS = ("train", "val", "test")
_KINDS = ("instances", "stuff")
_OUTLINE = re.compile(rb'"segmentation"\s*:\s*(\[\s*\[|\{)')
_SEARCHED = 1 << 20
# Edges may be so many times as long as the image is high and wide.
_LONGEST = 30


class CocoMasks(CocoImages):
    """Images of one split with masks of the classes that its json outlines.

    Larger outlines are drawn before smaller ones, in the pixels that the json gives the image. What no outline covers
    is a class of its own, the background, which is the first one; in a json with the category "other", as COCO-Stuff's,
    it does not count. Neither do crowds, nor boxes of things without an outline, which `notes` counts.
    Raises DataError, one sentence, for what is not such a data set.
    """

    kinds = _KINDS

    def __init__(self, root: Path, split: str | None, *, side: int | None = None) -> None:
        super().__init__(root, split, side=side)
        names = [name.casefold() for name in self.classes]
        if BACKGROUND in names or _OTHER in names:
            self._first, self._rest = 0, names.index(BACKGROUND) if BACKGROUND in names else IGNORED
        else:
            self._first, self._rest = 1, 0
            self.classes = (BACKGROUND, *self.classes)
        if len(self.classes) > MOST_CLASSES:
            raise DataError(f"{self.json} has {len(self.classes):,} classes, more than the {MOST_CLASSES} of a mask.")
        if without := sum(not row["outline"] for rows in self.rows for row in rows):
            self.notes.append(
                f"{without:,} things of {self.json.name} have no outline: the pixels in their boxes do not count."
            )
        self.origin = self.origin.replace("boxes from", "outlines from")

    def part(self, indices: Sequence[int], origin: str) -> Self:
        """Returns the data set of some of the images."""
        chosen = super().part(indices, origin)
        chosen.rows = [self.rows[index] for index in indices]
        return chosen

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the classes, the images and their outlines."""
        outlines = (blake2b(repr(rows).encode(errors="surrogatepass")).hexdigest() for rows in self.rows)
        return fingerprint_of(self.classes, zip(self.names, outlines, strict=True))

    def read(self, index: int) -> Record:
        """Decodes one image and draws its mask; raises UnreadableImageError."""
        record = super().read(index)
        size = record.original_size
        assert size is not None
        return Record(record.image, self._mask(index, size, record.name), record.name, original_size=size)

    def _mask(self, index: int, size: tuple[int, int], name: str) -> np.ndarray:
        """Draws the things of an image in the pixels that the json is in, and brings them to the file's."""
        width, height = self.declared_sizes[index] or size[::-1]
        own = (int(height), int(width))
        if own[0] * own[1] > MAX_PIXELS or abs(own[0] * size[1] - own[1] * size[0]) > max(*size, *own):
            raise UnreadableImageError(
                f"{name} has {size[1]} x {size[0]} pixels, and {self.json.name} says {own[1]} x {own[0]}: its outlines "
                "cannot be laid on it."
            )
        mask = np.full(own, self._rest, dtype=np.uint8)
        where = f"An outline of {name}"
        for row in self.rows[index]:
            if not row["outline"]:
                mask[_inside(row["box"], own)] = IGNORED
        things = [row for row in self.rows[index] if row["outline"]]
        # Crowds first, then things by falling size: one outline at a time, as there may be thousands.
        for row in sorted(things, key=lambda row: (not row["crowd"], -_extent(row["outline"]))):
            mask[_drawn(row["outline"], own, where)] = IGNORED if row["crowd"] else row["label"] + self._first
        if own == size:
            return mask
        return np.asarray(Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST))


def recognises(spec: str) -> bool:
    """Returns whether a folder has a json in one of COCO's places that outlines things."""
    found = (path for split in (*_SPLITS, None) for path in find_annotations(Path(spec), split, _KINDS))
    return any(map(_outlines, found))


def splits(spec: str) -> tuple[str, ...]:
    """Returns the splits that have a json."""
    return tuple(split for split in _SPLITS if find_annotations(Path(spec), split, _KINDS))


def open_split(spec: str, split: str | None, opening: Opening) -> Dataset:
    """Opens a split as it is divided on disk, or an undivided data set; see `CocoMasks`."""
    return CocoMasks(Path(spec), split, side=opening.side)


def _outlines(path: Path) -> bool:
    """Returns whether a file outlines a thing, which may stand behind long lists of images."""
    with suppress(OSError), path.open("rb") as file:
        before = b""
        while part := file.read(_SEARCHED):
            if _OUTLINE.search(before + part):
                return True
            before = part[-64:]
    return False


def _inside(box: Sequence[float], size: tuple[int, int]) -> tuple[slice, slice]:
    """Returns the rows and columns of a box (x, y, width, height)."""
    x, y, width, height = map(float, box)
    bottom, right = min(math.ceil(y + height), size[0]), min(math.ceil(x + width), size[1])
    return slice(max(math.floor(y), 0), max(bottom, 0)), slice(max(math.floor(x), 0), max(right, 0))


def _drawn(outline: Any, size: tuple[int, int], where: str) -> np.ndarray:
    """Returns the pixels (H, W) of polygons [[x, y, ...], ...] or of run lengths {"size", "counts"}."""
    try:
        return _of_runs(outline, size) if isinstance(outline, dict) else _of_polygons(outline, size)
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise UnreadableImageError(f"{where} cannot be drawn: {first_line(error)}.") from None


def _extent(outline: Any) -> float:
    """Returns about how many pixels an outline covers, 0 for a damaged one."""
    with suppress(ValueError, TypeError, LookupError, OverflowError):
        if isinstance(outline, dict):
            counts = outline["counts"]
            return float(sum((_unpacked(counts) if isinstance(counts, str) else counts)[1::2]))
        corners = [np.array(polygon, dtype=np.float64).reshape(-1, 2) for polygon in outline]
        crossed = (x * np.roll(y, 1) - y * np.roll(x, 1) for x, y in (each.T for each in corners))
        return float(sum(abs(each.sum()) / 2 for each in crossed))
    return 0.0


def _of_polygons(outline: Any, size: tuple[int, int]) -> np.ndarray:
    try:
        from faster_coco_eval.core import mask as coco
    except ImportError:
        raise MissingExtraError("faster-coco-eval", "A data set of outlines in COCO's json") from None
    polygons = [[float(number) for number in polygon] for polygon in outline]
    if not polygons or any(len(each) < 6 or len(each) % 2 for each in polygons):
        raise ValueError("a polygon has at least three corners, of two numbers each")
    corners = [np.array(polygon).reshape(-1, 2) for polygon in polygons]
    walked = sum(float(np.abs(np.roll(each, 1, axis=0) - each).sum()) for each in corners)
    # The library keeps every step along the edges in memory.
    if not walked <= _LONGEST * sum(size):
        raise ValueError("a corner is not a number, or its edges are far longer than those of anything in the image")
    area: np.ndarray = coco.decode(coco.merge(coco.frPyObjects(polygons, *size))).astype(bool)
    return area


def _of_runs(outline: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Returns the pixels of run lengths, whose sum is checked before anything of it is drawn."""
    counts = outline["counts"]
    lengths = np.array(_unpacked(counts) if isinstance(counts, str) else list(counts))
    if list(outline["size"]) != list(size):
        raise ValueError(f"its size is {str(outline['size'])[:40]}, and the image's {list(size)}")
    if lengths.dtype.kind not in "iu" or (lengths < 0).any() or int(lengths.sum(dtype=object)) != size[0] * size[1]:
        raise ValueError("its run lengths do not add up to the image's pixels")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(size, order="F")


def _unpacked(text: str) -> list[int]:
    """Returns the run lengths of COCO's compressed form.

    A number is written in digits of five bits, the least first, which a sixth bit continues; it is signed, and from the
    fourth number on what is written is the difference from the last but one.
    """
    lengths: list[int] = []
    value, shift = 0, 0
    for letter in text:
        digit = ord(letter) - 48
        if not 0 <= digit < 64 or shift > 60:
            raise ValueError("its run lengths are damaged")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise ValueError("its run lengths stop in the middle")
    return lengths
