"""Pictures with boxes in COCO's json."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sparsevision.data.dataset import Objects, ObjectSplit, Record, check_object_split, commonest, fingerprint_of
from sparsevision.data.reading import decode_picture, read_bytes
from sparsevision.errors import DataError

_SPLITS: Mapping[str, tuple[str, ...]] = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


class CocoDetection:
    """Pictures and boxes of one split of a data set in COCO's layout; a `Dataset` whose records have `objects`.

    `root` holds the json as `annotations/SPLIT.json`, `annotations/instances_SPLIT*.json` or
    `SPLIT/_annotations.coco.json`, and the pictures in `SPLIT`, `SPLIT2017` or the like, `images/SPLIT`, or beside the
    json. Category ids may have holes: classes are the categories by rising id, and `category_ids` leads back.
    Boxes are clipped to the picture; those without area are left out, and `dropped` counts them.
    Raises DataError, one sentence, for what is no such data set.
    """

    def __init__(self, root: str | os.PathLike[str], split: str = "train", *, side: int | None = None) -> None:
        self.root, self.split, self.side = Path(root), split, side
        self.json = _annotations(self.root, split)
        content = _read_json(self.json)
        categories = _rows(content, "categories", self.json, ("id", "name"))
        categories.sort(key=lambda row: row["id"])
        self.category_ids: tuple[int, ...] = tuple(row["id"] for row in categories)
        self.classes = tuple(str(row["name"]) for row in categories)
        repeated = [name for name, count in Counter(self.classes).items() if count > 1]
        if not self.classes or repeated or len(set(self.category_ids)) < len(self.category_ids):
            raise DataError(
                f"{self.json} has categories that cannot be told apart"
                + (f" ({repeated[0]!r} twice): rename one." if repeated else ": give each an id and a name of its own.")
            )
        pictures = _rows(content, "images", self.json, ("id", "file_name", "width", "height"))
        if not pictures:
            raise DataError(f"{self.json} lists no pictures.")
        for row in pictures:
            if not all(isinstance(row[side], int | float) and row[side] > 0 for side in ("width", "height")):
                raise DataError(
                    f"{self.json} gives {row['file_name']!r} a size of {row['width']!r} x {row['height']!r}."
                )
        self.picture_ids = [row["id"] for row in pictures]
        self.names = [str(row["file_name"]) for row in pictures]
        self._sides = [(float(row["width"]), float(row["height"])) for row in pictures]
        self.folder = _pictures_folder(self.root, split, self.json, self.names[0])
        self.dropped = 0
        self._objects = self._read_objects(
            _rows(content, "annotations", self.json, ("image_id", "category_id", "bbox"))
        )
        self.origin = f"{self.root}, split {split!r}, boxes from {self.json.name}"

    @property
    def labels(self) -> Sequence[int]:
        """The commonest class of every picture, -1 without objects: what a stratified choice of pictures goes by."""
        return [commonest(objects) for objects in self._objects]

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the classes, the pictures and their boxes."""
        boxes = (objects.boxes.tobytes().hex() + objects.labels.tobytes().hex() for objects in self._objects)
        return fingerprint_of(self.classes, zip(self.names, boxes, strict=True))

    def objects(self, index: int) -> Objects:
        """Returns what a picture shows, without decoding it."""
        return self._objects[index]

    def path(self, index: int) -> Path:
        """Returns where a picture lies."""
        return self.folder / self.names[index]

    def read(self, index: int) -> Record:
        """Decodes one picture; raises UnreadablePictureError."""
        path = os.fspath(self.path(index))
        image, size = decode_picture(path, side=self.side)
        return Record(image, -1, path, original_size=size, objects=self._objects[index])

    def content(self, index: int) -> bytes:
        """The bytes of the picture's file; raises UnreadablePictureError."""
        return read_bytes(os.fspath(self.path(index)))

    def _read_objects(self, rows: list[dict[str, Any]]) -> list[Objects]:
        places = {picture: index for index, picture in enumerate(self.picture_ids)}
        labels = {category: label for label, category in enumerate(self.category_ids)}
        found: list[list[tuple[np.ndarray, int, float, bool]]] = [[] for _ in places]
        for number, row in enumerate(rows):
            where = f"Annotation {row.get('id', number)} of {self.json}"
            if row["image_id"] not in places:
                raise DataError(f"{where} is of a picture {row['image_id']!r} that the file does not list.")
            if row["category_id"] not in labels:
                raise DataError(f"{where} is of a category {row['category_id']!r} that the file does not list.")
            place = places[row["image_id"]]
            box, area = _clipped(row, self._sides[place], where)
            if box is None:
                self.dropped += 1
                continue
            found[place].append((box, labels[row["category_id"]], area, bool(row.get("iscrowd", 0))))
        return [_joined(things) for things in found]


def _joined(things: list[tuple[np.ndarray, int, float, bool]]) -> Objects:
    boxes = np.array([thing[0] for thing in things], dtype=np.float64).reshape(-1, 4)
    return Objects(
        boxes,
        np.array([thing[1] for thing in things], dtype=np.int64),
        np.array([thing[2] for thing in things], dtype=np.float64),
        np.array([thing[3] for thing in things], dtype=bool),
    )


def _clipped(row: dict[str, Any], sides: tuple[float, float], where: str) -> tuple[np.ndarray | None, float]:
    """Returns a box's corners and its area as shares of the picture; no box where nothing of it is inside."""
    try:
        x, y, width, height = (float(value) for value in row["bbox"])
        area = float(row.get("area") or width * height)
    except (TypeError, ValueError):
        raise DataError(
            f"{where} has the box {row['bbox']!r}, which is not four numbers (x, y, width, height)."
        ) from None
    extent = np.array(sides * 2)
    box = np.array([x, y, x + width, y + height]) / extent
    if not np.isfinite(box).all() or not np.isfinite(area):
        raise DataError(f"{where} has the box {row['bbox']!r}, which is not finite.")
    box = box.clip(0, 1)
    if box[2] <= box[0] or box[3] <= box[1]:
        return None, 0.0
    return box, area / (sides[0] * sides[1])


def is_coco_folder(root: str | os.PathLike[str]) -> bool:
    """Says whether a folder has COCO's json for training or for validation."""
    return any(_candidates(Path(root), split) for split in _SPLITS)


def open_coco(root: str | os.PathLike[str], split: ObjectSplit = "train", *, side: int | None = None) -> CocoDetection:
    """Opens a split of a data set in COCO's layout; "test", too, where there is one."""
    return CocoDetection(root, check_object_split(split), side=side)


def _candidates(root: Path, split: str) -> list[Path]:
    found: list[Path] = []
    for name in _SPLITS.get(split, (split,)):
        for pattern in (
            f"annotations/{name}.json",
            f"annotations/instances_{name}*.json",
            f"{name}/_annotations.coco.json",
        ):
            found += sorted(root.glob(pattern))
    return [path for path in found if path.is_file()]


def _annotations(root: Path, split: str) -> Path:
    if not root.is_dir():
        raise DataError(f"There is no folder {root}: give one with pictures and COCO's json.")
    found = _candidates(root, split)
    if not found:
        raise DataError(
            f"{root} has no json for the split {split!r}: put it at annotations/{split}.json, or as "
            f"annotations/instances_{split}2017.json or {split}/_annotations.coco.json."
        )
    return found[0]


def _pictures_folder(root: Path, split: str, annotations: Path, first: str) -> Path:
    """Finds where the pictures lie: where the first one that the file lists is."""
    candidates = [root, root / "images", annotations.parent]
    for name in _SPLITS.get(split, (split,)):
        candidates += [*sorted(root.glob(f"{name}*")), *sorted((root / "images").glob(f"{name}*"))]
    folders = [folder for folder in candidates if folder.is_dir()]
    for folder in folders:
        if (folder / first).exists():
            return folder
    # A single missing picture is skipped when it is read; the split's own folder is where it would be.
    own = [folder for folder in folders if folder.name.startswith(_SPLITS.get(split, (split,)))]
    if not own:
        raise DataError(f"{root} has no folder of pictures for the split {split!r}: {first!r} was not found.")
    return own[0]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path} is no intact JSON: write it again.") from None
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
