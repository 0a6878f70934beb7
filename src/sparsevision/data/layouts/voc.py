"""Images with boxes in Pascal VOC's layout: an xml for every image."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparsevision.data.dataset import Dataset, Opening
from sparsevision.data.layouts import annotated_images
from sparsevision.data.layouts.annotated_images import (
    AnnotatedImages,
    Annotation,
    located_image,
    measured_size,
    supervision_reader,
)
from sparsevision.data.splitting import split_of_folder
from sparsevision.data.texts import composed, read_text
from sparsevision.data.walking import entries_in, notes_on, walk_images
from sparsevision.errors import DataError
from sparsevision.wording import count_of

_IMAGES = ("jpegimages", "images")
_TRUE = ("1", "true", "yes")
_ONE_PIXEL = 1.05  # fractions are rounded, and may leave the image
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
    or there is a folder for each split, with xml files beside the images or with the two folders. Without any of these
    the data set is undivided, and `split` is None. Folders may have further folders in them. Classes are all
    names that any split has, in alphabetical order. Things that are marked as difficult are neither taught nor missed,
    as in VOC's own measure. An image is opened before it is read only where its xml does not say how large it is.
    Raises DataError, one sentence, for what is not such a data set.
    """

    layout = "Pascal VOC"

    def __init__(self, root: str | os.PathLike[str], split: str | None, *, side: int | None = None) -> None:
        self.root, self.split = Path(root), split
        homes = _homes(self.root)
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
        walked = walk_images(os.fspath(home.images))
        paths = _images_of(pages, home, [Path(path) for path, _ in walked.images])
        unused = len(walked.images) - len({*map(os.fspath, paths)} & {path for path, _ in walked.images})
        notes = notes_on([walked])
        if unused and home.chosen is None:
            notes.append(f"Not read: {count_of(unused, 'image')} in {home.images} without an xml file.")
        sizes = [page.size or measured_size(path) for page, path in zip(pages, paths, strict=True)]
        _refuse_fractions(pages, sizes, home.annotations)
        super().__init__(
            classes, paths, [page.things(size, classes) for page, size in zip(pages, sizes, strict=True)],
            names=[os.path.relpath(path, home.images) for path in paths],
            origin=f"{self.root}, {f'split {split!r}' if split else 'undivided'}, boxes from xml files",
            declared_sizes=[page.size for page in pages], side=side, notes=notes,
        )  # fmt: skip


def recognises(spec: str) -> bool:
    """Returns whether a folder has xml files, for a split or for everything."""
    return bool(_homes(Path(spec)))


def splits(spec: str) -> tuple[str, ...]:
    """Returns the splits that have xml files."""
    return tuple(split for split in _homes(Path(spec)) if split)


def open_split(spec: str, split: str | None, opening: Opening) -> Dataset:
    """Opens a split as it is divided on disk, or an undivided data set; see `VocImages`."""
    return VocImages(spec, split, side=opening.side)


def _homes(root: Path) -> dict[str | None, _Home]:
    """Finds the xml files and images of every split; of everything under None where there is no split."""
    found: dict[str | None, _Home] = {}
    for path in sorted(root.glob("*")):
        if path.is_dir() and (split := split_of_folder(path.name)) and (home := _home(path)) is not None:
            if split in found:
                raise DataError(
                    f"{root} has two folders for the split {split!r}, {found[split].images} and {path}: put them "
                    "together, or rename one."
                )
            found[split] = home
    if (whole := _home(root)) is not None:
        lists = {split_of_folder(path.stem): path for path in sorted((root / "ImageSets" / "Main").glob("*.txt"))}
        found |= {split: replace(whole, chosen=path) for split, path in lists.items() if split}
        if not found:
            found[None] = whole
    return {split: found[split] for split in ("train", "val", "test", None) if split in found}


def _home(folder: Path) -> _Home | None:
    """Returns a folder's xml files and images: in the two folders, or beside each other."""
    entries = entries_in(folder)
    folders = {entry.name.casefold(): Path(entry.path) for entry in entries if entry.is_dir()}
    apart = folders.get("annotations")
    if apart is not None and any(map(_is_xml, apart.rglob("*"))):
        return _Home(apart, next((folders[name] for name in _IMAGES if name in folders), folder))
    return _Home(folder, folder) if any(_is_xml(Path(entry.name)) for entry in entries) else None


def _is_xml(path: Path) -> bool:
    return path.suffix.lower() == ".xml"


def _images_of(pages: Sequence[_Page], home: _Home, images: Sequence[Path]) -> list[Path]:
    """Finds the image of every xml: of the same name, at the same place, or else the one that the xml names."""
    placed = {path.relative_to(home.images).with_suffix(""): path for path in images}
    once = Counter(path.stem for path in images)
    named = {path.stem: path for path in images if once[path.stem] == 1}
    found = []
    for page in pages:
        place = page.path.relative_to(home.annotations).with_suffix("")
        found.append(placed.get(place) or named.get(page.path.stem) or located_image(home.images, page.file))
    return found


def _annotations(home: _Home) -> list[Path]:
    """Returns the xml files of a split, in order."""
    if home.chosen is None:
        found = sorted(filter(_is_xml, home.annotations.rglob("*")))
    else:
        words = [line.split() for line in read_text(home.chosen).splitlines()]
        found = [home.annotations / f"{word[0]}.xml" for word in words if word]
    if not found:
        raise DataError(f"{home.chosen or home.annotations} lists no images.")
    return found


def _refuse_fractions(pages: Sequence[_Page], sizes: Sequence[tuple[float, float]], folder: Path) -> None:
    """Raises DataError where boxes are fractions of the image, which VOC's are not."""
    boxes = [page.boxes for page in pages if len(page.boxes)]
    if boxes and (np.concatenate(boxes).max(axis=1) <= _ONE_PIXEL).mean() > 0.5 and min(map(min, sizes)) > 2:
        raise DataError(
            f"The boxes in {folder} lie within one pixel: they seem to be fractions of the image, and VOC's are pixels."
        )


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
        difficult = tuple((thing.findtext("difficult") or "").strip().lower() in _TRUE for thing in things)
        classes = () if found.class_id is None else tuple(composed(names[number]).strip() for number in found.class_id)
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
