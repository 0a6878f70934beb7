"""Images and masks of the same names in two folders, for each split or divided by lists."""

from __future__ import annotations

import os
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
from sparsevision.data.masks import read_classes
from sparsevision.data.reading import is_image_name
from sparsevision.data.splitting import split_of_folder
from sparsevision.data.walking import entries_in
from sparsevision.errors import DataError

UNMARKED = False
TABLES = ("classes.txt", "class_dict.csv")
_IMAGES = ("images", "image", "imgs", "img")
_MASKS = ("labels", "masks", "annotations", "label", "mask", "segmentation", "segmentations")


class MaskFolders(MaskedImages):
    """Images with masks of the same names; see `MaskedImages`.

    `root` has `SPLIT/images` and `SPLIT/labels`, or `images/SPLIT` and `labels/SPLIT`; or `images` and `labels` with
    `train.txt` and `val.txt`, lists of images, beside them; without these it is undivided. Folders of masks may also be
    called masks or annotations, and a mask may have "_mask" or the like behind the image's name. `classes.txt` (or
    `class_dict.csv`) has a line for each class, see `masks.read_classes`.
    """

    def __init__(self, root: str | os.PathLike[str], split: str | None, *, side: int | None = None) -> None:
        folder = Path(root)
        homes = _homes(folder)
        tables = [folder / name for name in TABLES if (folder / name).is_file()]
        if not tables:
            raise DataError(
                f"{folder} has no classes.txt: write a line for each class, in the order of their indices in the masks."
            )
        classes, coding = read_classes(tables[0])
        super().__init__(folder, homes, split, classes, coding, side=side)


def _homes(root: Path) -> Homes:
    found: Homes = {}
    for folder in folders_in(root).values():
        if (split := split_of_folder(folder.name)) and (home := _home(folder)):
            if split in found:
                raise DataError(
                    f"{root} has two folders for the split {split!r}, {found[split].images.parent} and {folder}: put "
                    "them together, or rename one."
                )
            found[split] = home
    whole = _pair(root)
    if not found and whole is not None:
        for name, images in folders_in(whole.images).items():
            masks = folders_in(whole.masks).get(name)
            if (split := split_of_folder(images.name)) and masks is not None and has_images(masks):
                found.setdefault(split, Home(images, masks))
        if not found and has_images(whole.masks):
            lists = split_lists(root, "splits")
            found = {split: whole._replace(chosen=path) for split, path in lists.items()} or {None: whole}
    return ordered(found)


def _home(folder: Path) -> Home | None:
    pair = _pair(folder)
    return pair if pair is not None and has_images(pair.masks) else None


def _pair(folder: Path) -> Home | None:
    named = folders_in(folder)
    images, masks = (next((named[name] for name in names if name in named), None) for names in (_IMAGES, _MASKS))
    return None if images is None or masks is None else Home(images, masks)


def has_images(folder: Path) -> bool:
    """Returns whether a folder has images, or folders with images."""
    entries = entries_in(folder)
    inside = (each for entry in entries if entry.is_dir() for each in entries_in(entry.path))
    return any(is_image_name(entry.name) for entry in (*entries, *inside))


recognises, splits, open_split = layout_functions(_homes, MaskFolders)
