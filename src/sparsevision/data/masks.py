"""Index masks: one class a pixel, stored as indices, with a palette, or as colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sparsevision.data.reading import decode_stored
from sparsevision.data.texts import read_text
from sparsevision.errors import DataError, UnreadableImageError

IGNORED = 255  # of pixels that are neither taught nor scored
MOST_CLASSES = 255
BACKGROUND = "background"  # of the class that is left where nothing is marked
Colour = tuple[int, int, int]

_UNKNOWN = -1
VOID_NAMES = ("void", "ignore", "ignored", "unlabeled", "unlabelled")
_COLUMNS = {1: ("name",), 2: ("index", "name"), 4: ("name", "r", "g", "b"), 5: ("index", "name", "r", "g", "b")}
_INDEX_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
_SMOOTHED = 32  # more unknown colours than anyone forgot to list


@dataclass(frozen=True)
class MaskCoding:
    """What the pixels of a data set's masks mean.

    `indices` and `colours` lead to classes, IGNORED for pixels that do not count. Files of one channel or with a
    palette are read by their indices if `by_index`, else by their colours. `lists_void` is whether the index 255 was
    listed as one that does not count. `source` is the file or the rule that messages name.
    """

    indices: Mapping[int, int]
    colours: Mapping[Colour, int] = field(default_factory=dict)
    by_index: bool = True
    lists_void: bool = False
    source: str = "the classes"

    def classes_of(self, image: Image.Image, name: str) -> np.ndarray:
        """Returns the classes (H, W), uint8, of a decoded mask; raises UnreadableImageError for what has none."""
        if self.by_index and image.mode in _INDEX_MODES:
            return self._of_indices(np.asarray(image), name)
        if image.mode.startswith("I"):
            raise UnreadableImageError(f"{name} has deep values, and {self.source} lists colours: list indices, too.")
        if not self.colours:
            raise UnreadableImageError(
                f"{name} is a mask of colours ({image.mode}), and {self.source} gives the classes none: add columns r, "
                "g and b, or save masks of indices."
            )
        return self._of_colours(np.asarray(image.convert("RGB")), name)

    def _of_indices(self, values: np.ndarray, name: str) -> np.ndarray:
        found = np.unique(values)
        unknown = [int(value) for value in found if int(value) not in self.indices]
        if unknown:
            more = f" and {len(unknown) - 1} more indices" if len(unknown) > 1 else ""
            raise UnreadableImageError(
                f"{name} has pixels of index {unknown[0]}{more}, which {self.source} does not list: list it (as void, "
                "if it is not to count), or correct the mask."
            )
        table = np.array([self.indices[int(value)] for value in found], dtype=np.uint8)
        return table[np.searchsorted(found, values)]

    def _of_colours(self, values: np.ndarray, name: str) -> np.ndarray:
        packed = (values.astype(np.int32) * np.array([1 << 16, 1 << 8, 1])).sum(axis=2)
        classes = {(r << 16) + (g << 8) + b: label for (r, g, b), label in self.colours.items()}
        found = np.unique(packed)
        unknown = [int(value) for value in found if int(value) not in classes]
        if unknown:
            first = tuple(unknown[0] >> shift & 255 for shift in (16, 8, 0))
            many = len(unknown) > _SMOOTHED
            raise UnreadableImageError(
                f"{name} has pixels of {len(unknown):,} colours that {self.source} does not list, first {first}: "
                + ("it seems to be smoothed or compressed; save masks without." if many else "list them.")
            )
        table = np.array([classes[int(value)] for value in found], dtype=np.uint8)
        return table[np.searchsorted(found, packed)]


def read_mask(path: Path, size: tuple[int, int], coding: MaskCoding) -> np.ndarray:
    """Returns the classes (H, W), uint8, of a mask of an image of a size (height, width), IGNORED where none counts.

    A mask belongs to the image as it is shown, upright; its own orientation, if it has one, is followed, too.
    Raises UnreadableImageError for a file that cannot be decoded, is a JPEG, has another size, or pixels of no class.
    """
    image, form = decode_stored(path, "mask")
    if form in ("JPEG", "MPO", "WEBP", "AVIF"):
        raise UnreadableImageError(f"{path} is a {form}, whose compression changes masks: save it as PNG.")
    if (image.height, image.width) != size:
        raise UnreadableImageError(
            f"{path} is a mask of {image.width} x {image.height} pixels of an image of {size[1]} x {size[0]}."
        )
    return coding.classes_of(image, str(path))


def read_classes(path: Path) -> tuple[tuple[str, ...], MaskCoding]:
    """Reads a table of classes: a line for each, of tabs or commas, with or without a heading.

    A line is a name, an index and a name, a name and its colour (r, g, b), or all of it; without indices they count
    from 0. Classes of the name void, ignore or unlabelled do not count, nor does the index 255 unless it is listed.
    Raises DataError for anything else.
    """
    lines = [line for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    divider = "\t" if any("\t" in line for line in lines) else ","
    rows = [[cell.strip() for cell in line.split(divider)] for line in lines]
    if rows and {"index", "name"} & {cell.casefold() for cell in rows[0]} and not any(map(str.isdecimal, rows[0])):
        rows = rows[1:]
    if not rows:
        raise DataError(f"{path} lists no classes: write a line for each, in the order of their indices.")
    columns = _COLUMNS.get(len(rows[0]))
    if columns is None or any(len(row) != len(columns) for row in rows):
        raise DataError(f"{path} must have the same columns in each line: name, or index, name, and r, g, b if any.")
    listed = [dict(zip(columns, row, strict=True)) for row in rows]
    return coding_of(
        [row["name"] for row in listed],
        indices=[_byte(row["index"], path) for row in listed] if "index" in columns else None,
        colours=[_colour(row, path) for row in listed] if "r" in columns else None,
        source=str(path),
    )


def coding_of(
    names: Sequence[str], *, indices: Sequence[int] | None = None, colours: Sequence[Colour] | None = None,
    source: str = "the classes",
) -> tuple[tuple[str, ...], MaskCoding]:  # fmt: skip
    """Returns the names of the classes that count, by rising index, and the coding of masks.

    Raises DataError where a name, an index or a colour stands twice, or no class is left.
    """
    numbers = list(range(len(names)) if indices is None else indices)
    counted = [name for name in names if name.casefold() not in VOID_NAMES]
    listed: tuple[tuple[str, list[Any]], ...] = (
        ("index", numbers), ("colour", list(colours or ())), ("class", counted)
    )  # fmt: skip
    for what, values in listed:
        if twice := [value for place, value in enumerate(values) if value in values[:place]]:
            raise DataError(f"{source} lists the {what} {twice[0]!r} twice: leave one of them.")
    order = sorted(range(len(names)), key=numbers.__getitem__)
    kept = [place for place in order if names[place].casefold() not in VOID_NAMES]
    if not kept or len(kept) > MOST_CLASSES or any(not names[place] for place in kept):
        raise DataError(f"{source} must name from 1 to {MOST_CLASSES} classes.")
    labels = {place: label for label, place in enumerate(kept)}
    by_number = {IGNORED: IGNORED} | {number: labels.get(place, IGNORED) for place, number in enumerate(numbers)}
    by_colour = {colour: labels.get(place, IGNORED) for place, colour in enumerate(colours or ())}
    by_index = indices is not None or colours is None
    lists_void = IGNORED in numbers and by_number[IGNORED] == IGNORED
    coding = MaskCoding(by_number, by_colour, by_index=by_index, lists_void=lists_void, source=source)
    return tuple(names[place] for place in kept), coding


def _byte(text: str, path: Path) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 3 or int(text) > 255:
        raise DataError(f"{path} has {text[:20]!r} where a number from 0 to 255 is expected.")
    return int(text)


def _colour(row: Mapping[str, str], path: Path) -> Colour:
    red, green, blue = (_byte(row[name], path) for name in "rgb")
    return red, green, blue
