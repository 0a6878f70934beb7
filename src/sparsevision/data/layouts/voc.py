"""Images with boxes in Pascal VOC's layout: an xml for every image."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsevision.data.caching import cached
from sparsevision.data.dataset import Dataset, Opening, check_object_split
from sparsevision.data.layouts import annotated_images
from sparsevision.data.layouts.annotated_images import SPLIT_NAMES, AnnotatedImages, Annotation, supervision_reader
from sparsevision.data.layouts.class_folders import walk_images
from sparsevision.data.reading import decode_image
from sparsevision.errors import DataError, UnreadableImageError

_IMAGES = ("JPEGImages", "images", "Images")
UNMARKED = False


@dataclass(frozen=True)
class _Home:
    """The folders of a split's xml files and images, and the list of those that belong to it; None for all."""

    annotations: Path
    images: Path
    chosen: Path | None = None


class VocImages(AnnotatedImages):
    """Images and boxes of one split of a data set in Pascal VOC's layout; a `Dataset` whose targets are `Objects`.

    Either `root` holds `Annotations`, `JPEGImages` and `ImageSets/Main/SPLIT.txt`, which names the images of a split;
    or there is a folder for each split, with xml files beside the images or with the two folders. Classes are all
    names that any split has, in alphabetical order. Things that are marked as difficult are neither taught nor missed,
    as in VOC's own measure. An image is opened before it is read only where its xml does not say how large it is.
    Raises DataError, one sentence, for what is not such a data set.
    """

    layout = "Pascal VOC"

    def __init__(self, root: str | os.PathLike[str], split: str = "train", *, side: int | None = None) -> None:
        self.root, self.split = Path(root), split
        homes = {name: home for name in SPLIT_NAMES if (home := _home(self.root, name)) is not None}
        if split not in homes:
            raise DataError(
                f"{self.root} has no xml files for the split {split!r}: name its images in "
                f"ImageSets/Main/{split}.txt, or put them into a folder {split}."
            )
        read = _reader()
        found = {name: [read(path) for path in _annotations(home)] for name, home in homes.items()}
        classes = sorted({name for pages in found.values() for page in pages for name in page.names})
        if not classes:
            raise DataError(f"The xml files of {self.root} name no objects.")
        pages, home = found[split], homes[split]
        names = {os.path.splitext(name)[0]: name for name in _names_of_images(home.images)}
        shown = [names.get(page.path.stem, page.file) for page in pages]
        paths = [home.images / name for name in shown]
        sizes = [page.size or _size_of(path) for page, path in zip(pages, paths, strict=True)]
        super().__init__(
            classes, paths, [page.things(size, classes) for page, size in zip(pages, sizes, strict=True)],
            names=shown, origin=f"{self.root}, split {split!r}, boxes from xml files",
            declared_sizes=[page.size for page in pages], side=side,
        )  # fmt: skip


def recognises(spec: str) -> bool:
    """Returns whether a folder has xml files for a split."""
    return any(_home(Path(spec), split) is not None for split in SPLIT_NAMES)


def splits(spec: str) -> tuple[str, ...]:
    """Returns the splits: train, val, and test if xml files name one."""
    return ("train", "val", "test") if _home(Path(spec), "test") is not None else ("train", "val")


def open_split(spec: str, split: str, opening: Opening) -> Dataset:
    """Opens a split as it is divided on disk; see `VocImages`."""
    return cached(VocImages(spec, check_object_split(split), side=opening.side), opening.cache)


def _home(root: Path, split: str) -> _Home | None:
    """Finds a split's xml files and images."""
    for name in SPLIT_NAMES.get(split, (split,)):
        listed = root / "ImageSets" / "Main" / f"{name}.txt"
        if listed.is_file() and (root / "Annotations").is_dir():
            return _Home(root / "Annotations", _images_folder(root), listed)
        own = root / name
        if (own / "Annotations").is_dir():
            return _Home(own / "Annotations", _images_folder(own))
        if own.is_dir() and next(own.glob("*.xml"), None) is not None:
            return _Home(own, own)
    return None


def _images_folder(root: Path) -> Path:
    return next((root / name for name in _IMAGES if (root / name).is_dir()), root)


def _names_of_images(folder: Path) -> list[str]:
    return [os.path.relpath(path, folder) for path, _ in walk_images(os.fspath(folder))]


def _annotations(home: _Home) -> list[Path]:
    """Returns the xml files of a split, in order."""
    if home.chosen is None:
        found = sorted(home.annotations.glob("*.xml"))
    else:
        try:
            words = [line.split() for line in home.chosen.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError):
            raise DataError(f"{home.chosen} cannot be read as a list of images.") from None
        found = [home.annotations / f"{word[0]}.xml" for word in words if word]
    if not found:
        raise DataError(f"{home.chosen or home.annotations} lists no images.")
    return found


@dataclass(frozen=True)
class _Page:
    """The content of an xml file: the image, (width, height) if known, corners (pixels) and names of its objects."""

    path: Path
    file: str
    size: tuple[float, float] | None
    boxes: np.ndarray
    names: tuple[str, ...]
    difficult: tuple[bool, ...]

    def things(self, size: tuple[float, float], classes: Sequence[str]) -> list[Annotation]:
        return annotated_images.annotations_of(
            self.boxes / np.array(size * 2), list(map(classes.index, self.names)), self.difficult
        )


def _reader() -> Callable[[Path], _Page]:
    read_things = supervision_reader("Pascal VOC", "pascal_voc", "detections_from_xml_obj")
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import ParseError, parse

    def read(path: Path) -> _Page:
        try:
            root = parse(path).getroot()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from None
        except (ParseError, ValueError, DefusedXmlException):
            raise DataError(f"{path} is not intact XML: write it again.") from None
        things = root.findall("object")
        for thing in things:
            for outline in thing.findall("polygon"):
                thing.remove(outline)  # it would be drawn as a mask, which nobody asks for
        try:
            found, names = read_things(root, [], (1, 1))
        except ValueError as error:
            raise DataError(f"{path} has an object that is not a box: {str(error).rstrip('.')}.") from None
        difficult = tuple((thing.findtext("difficult") or "").strip() == "1" for thing in things)
        classes = () if found.class_id is None else tuple(names[number] for number in found.class_id)
        file = (root.findtext("filename") or f"{path.stem}.jpg").strip()
        return _Page(path, file, _size(root, path), found.xyxy.astype(np.float64), classes, difficult)

    return read


def _size(root: Any, path: Path) -> tuple[float, float] | None:
    """Returns the (width, height) that an xml gives; None where it gives none, as 0 x 0 is meant."""
    said = [root.findtext(f"size/{side}") for side in ("width", "height")]
    if None in said:
        return None
    try:
        width, height = (float(side) for side in said)
    except ValueError:
        raise DataError(f"{path} gives its image a size of {said[0]!r} x {said[1]!r}.") from None
    return (width, height) if 0 < width < np.inf and 0 < height < np.inf else None


def _size_of(path: Path) -> tuple[float, float]:
    """Returns an image's upright (width, height); 1 x 1 for one that will be skipped when it is read."""
    try:
        height, width = decode_image(os.fspath(path), side=1)[1]
    except UnreadableImageError:
        return 1.0, 1.0
    return float(width), float(height)
