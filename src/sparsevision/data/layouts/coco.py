"""Images with boxes in COCO's json."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsevision.data.caching import cached
from sparsevision.data.dataset import Dataset, Opening, check_object_split
from sparsevision.data.layouts.annotated_images import SPLIT_NAMES, AnnotatedImages, Annotation
from sparsevision.errors import DataError

_LONGEST = 1_000_000_000  # pixels
UNMARKED = False


class CocoImages(AnnotatedImages):
    """Images and boxes of one split of a data set in COCO's layout; a `Dataset` whose targets are `Objects`.

    `root` holds the json as `annotations/SPLIT.json`, `annotations/instances_SPLIT*.json` or
    `SPLIT/_annotations.coco.json`, and the images in `SPLIT`, `SPLIT2017` or the like, `images/SPLIT`, or beside the
    json. Category ids may have holes: classes are the categories by rising id, and `category_ids` leads back.
    Boxes are clipped to the image; those without area are left out, see `AnnotatedImages`.
    Raises DataError, one sentence, for what is not such a data set.
    """

    layout = "COCO"

    def __init__(self, root: str | os.PathLike[str], split: str = "train", *, side: int | None = None) -> None:
        self.root, self.split = Path(root), split
        self.json = _annotations(self.root, split)
        content = _read_json(self.json)
        categories = _categories(content, self.json)
        images = _images(content, self.json)
        names = [str(row["file_name"]) for row in images]
        sides = [(float(row["width"]), float(row["height"])) for row in images]
        self.folder = _images_folder(self.root, split, self.json, names[:100])
        labels = {row["id"]: label for label, row in enumerate(categories)}
        places = {row["id"]: place for place, row in enumerate(images)}
        things: list[list[Annotation]] = [[] for _ in images]
        for number, row in enumerate(_rows(content, "annotations", self.json, ("image_id", "category_id", "bbox"))):
            where = f"Annotation {row.get('id', number)} of {self.json}"
            if row["image_id"] not in places:
                raise DataError(f"{where} is of an image {_short(row['image_id'])} that the file does not list.")
            if row["category_id"] not in labels:
                raise DataError(f"{where} is of a category {_short(row['category_id'])} that the file does not list.")
            place = places[row["image_id"]]
            things[place].append(_thing(row, labels[row["category_id"]], sides[place], where))
        super().__init__(
            [str(row["name"]) for row in categories], [self.folder / name for name in names], things, names=names,
            origin=f"{self.root}, split {split!r}, boxes from {self.json.name}",
            category_ids=[row["id"] for row in categories], image_ids=[row["id"] for row in images],
            declared_sizes=sides, side=side,
        )  # fmt: skip


def _categories(content: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """Returns the categories by rising id; raises DataError where two cannot be told apart."""
    categories = sorted(_rows(content, "categories", path, ("id", "name")), key=lambda row: row["id"])
    names = Counter(str(row["name"]) for row in categories)
    repeated = [name for name, count in names.items() if count > 1]
    if not categories or repeated or len({row["id"] for row in categories}) < len(categories):
        raise DataError(
            f"{path} has categories that cannot be told apart"
            + (f" ({repeated[0]!r} twice): rename one." if repeated else ": give each an id and a name of its own.")
        )
    return categories


def _images(content: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """Returns the listed images; raises DataError where there are none, or one without a size."""
    images = _rows(content, "images", path, ("id", "file_name", "width", "height"))
    if not images:
        raise DataError(f"{path} lists no images.")
    for row in images:
        if not _is_file_name(str(row["file_name"])):
            raise DataError(f"{path} lists an image {_short(row['file_name'])}, which is not the name of a file.")
        if not all(isinstance(row[side], int | float) and 0 < row[side] < _LONGEST for side in ("width", "height")):
            raise DataError(
                f"{path} gives {_short(row['file_name'])} a size of {_short(row['width'])} x {_short(row['height'])}."
            )
    repeated = [number for number, count in Counter(row["id"] for row in images).items() if count > 1]
    if repeated:
        raise DataError(f"{path} gives two images the id {repeated[0]}, so that nobody knows whose the boxes are.")
    return images


def _thing(row: dict[str, Any], label: int, sides: tuple[float, float], where: str) -> Annotation:
    """Returns an annotation's box and area as fractions of the image."""
    try:
        x, y, width, height = (float(value) for value in row["bbox"])
        area = float(row.get("area") or width * height)
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"{where} has the box {_short(row['bbox'])}, which is not four numbers (x, y, width, height)."
        ) from None
    corners = np.array([x, y, x + width, y + height]) / (sides * 2)
    if not np.isfinite(corners).all() or not np.isfinite(area):
        raise DataError(f"{where} has the box {row['bbox']!r}, which is not finite.")
    return Annotation(corners.tolist(), label, area / (sides[0] * sides[1]), bool(row.get("iscrowd", 0)))


def _is_file_name(name: str) -> bool:
    """Returns whether a file may be called so: JSON can hold halves of letters, and bytes of zero."""
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def _short(value: Any) -> str:
    """Writes a value of a stranger's file, which may be of any length, into a sentence."""
    words = repr(value)
    return words if len(words) <= 80 else f"{words[:80]}..."


def recognises(spec: str) -> bool:
    """Returns whether a folder has COCO's json for training or for validation."""
    return any(_candidates(Path(spec), split) for split in SPLIT_NAMES)


def splits(spec: str) -> tuple[str, ...]:
    """Returns the splits: train, val, and test if COCO's json name one."""
    return ("train", "val", "test") if _candidates(Path(spec), "test") else ("train", "val")


def open_split(spec: str, split: str, opening: Opening) -> Dataset:
    """Opens a split as it is divided on disk; see `CocoImages`."""
    return cached(CocoImages(spec, check_object_split(split), side=opening.side), opening.cache)


def _candidates(root: Path, split: str) -> list[Path]:
    found: list[Path] = []
    for name in SPLIT_NAMES.get(split, (split,)):
        for pattern in (
            f"annotations/{name}.json",
            f"annotations/instances_{name}*.json",
            f"{name}/_annotations.coco.json",
        ):
            found += sorted(root.glob(pattern))
    return [path for path in found if path.is_file()]


def _annotations(root: Path, split: str) -> Path:
    if not root.is_dir():
        raise DataError(f"The folder {root} does not exist: give one with images and COCO's json.")
    found = _candidates(root, split)
    if not found:
        raise DataError(
            f"{root} has no json for the split {split!r}: put it at annotations/{split}.json, or as "
            f"annotations/instances_{split}2017.json or {split}/_annotations.coco.json."
        )
    return found[0]


def _images_folder(root: Path, split: str, annotations: Path, names: Sequence[str]) -> Path:
    """Finds where the images lie: where most of the first ones that the file lists are."""
    candidates = [root, root / "images", annotations.parent]
    for name in SPLIT_NAMES.get(split, (split,)):
        candidates += [*sorted(root.glob(f"{name}*")), *sorted((root / "images").glob(f"{name}*"))]
    folders = [folder for folder in candidates if folder.is_dir()]
    best = max(folders, key=lambda folder: sum(os.path.exists(folder / name) for name in names))
    if any(os.path.exists(best / name) for name in names):
        return best
    # A missing image is skipped when it is read; the split's own folder is where it would be.
    own = [folder for folder in folders if folder.name.startswith(SPLIT_NAMES.get(split, (split,)))]
    if not own:
        raise DataError(f"{root} has no folder of images for the split {split!r}: {names[0]!r} was not found.")
    return own[0]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path} is not intact JSON: write it again.") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} is not in COCO's layout: it holds no object with 'images' and 'annotations'.")
    return content


def _rows(content: dict[str, Any], key: str, path: Path, needed: Sequence[str]) -> list[dict[str, Any]]:
    rows = content.get(key)
    if not isinstance(rows, list):
        raise DataError(f"{path} is not in COCO's layout: it has no list {key!r}.")
    for number, row in enumerate(rows):
        missing = [name for name in needed if not isinstance(row, dict) or name not in row]
        if missing:
            raise DataError(f"Entry {number} of {key!r} in {path} has no {missing[0]!r}.")
        wrong = [name for name in needed if name.endswith("id") and not isinstance(row[name], int)]
        if wrong:
            raise DataError(
                f"Entry {number} of {key!r} in {path} has the {wrong[0]} {row[wrong[0]]!r}, no whole number."
            )
    return list(rows)
