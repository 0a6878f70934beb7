"""Pascal VOC's layout for segmentation: `JPEGImages`, `SegmentationClass` and `ImageSets/Segmentation`."""

from __future__ import annotations

from pathlib import Path

from sparsevision.data.layouts.masked_images import (
    Home,
    Homes,
    MaskedImages,
    folders_in,
    layout_functions,
    ordered,
    split_lists,
)
from sparsevision.data.masks import MaskCoding, coding_of, read_classes
from sparsevision.data.texts import read_text
from sparsevision.errors import DataError

UNMARKED = False
_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
_LISTS = "ImageSets/Segmentation"


class VocMasks(MaskedImages):
    """The images and masks of a split: 21 classes with the background, the border of things (255) does not count.

    Programs for annotation write the same folders for other classes: their `labelmap.txt` has lines of a name and a
    colour, "cell:255,0,0::", by which masks are read; a `classes.txt` does the same, see `masks.read_classes`.
    """

    layout = "Pascal VOC"

    def __init__(self, root: Path, split: str | None, *, side: int | None = None) -> None:
        classes, coding = _classes(root)
        super().__init__(root, _homes(root), split, classes, coding, side=side)


def _homes(root: Path) -> Homes:
    folders = folders_in(root)
    if "jpegimages" not in folders or "segmentationclass" not in folders:
        return {}
    whole = Home(folders["jpegimages"], folders["segmentationclass"])
    lists = split_lists(root / _LISTS)
    return ordered({split: whole._replace(chosen=path) for split, path in lists.items()} or {None: whole})


def _classes(root: Path) -> tuple[tuple[str, ...], MaskCoding]:
    if (path := root / "classes.txt").is_file():
        return read_classes(path)
    if not (path := root / "labelmap.txt").is_file():
        return coding_of(_CLASSES, source="Pascal VOC's table of classes")
    lines = [line for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    names = [line.split(":")[0].strip() for line in lines]
    try:
        colours = [tuple(map(int, line.split(":")[1].split(","))) for line in lines]
        return coding_of(names, colours=[(red, green, blue) for red, green, blue in colours], source=str(path))
    except (IndexError, ValueError):
        raise DataError(f"{path} must have a line for each class: its name, a colon, and r, g, b.") from None


recognises, splits, open_split = layout_functions(_homes, VocMasks)
