"""Images with boxes in COCO's json."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sparsevision.data.dataset import Dataset, Opening
from sparsevision.data.layouts.annotated_images import (
    AnnotatedImages,
    Annotation,
    located_image,
    measured_size,
    named_twice,
)
from sparsevision.data.splitting import split_of_file, split_of_folder
from sparsevision.data.texts import composed, read_text
from sparsevision.data.walking import entries_in, notes_on, walk_images
from sparsevision.errors import DataError
from sparsevision.wording import count_of

_LONGEST = 1_000_000_000  # pixels
_FEW = 3  # boxes, too few to tell corners
_ONE_PIXEL = 1.05  # fractions are rounded, and may leave the image
_SPLITS = ("train", "val", "test")
_HOME = "annotations"
_UNDIVIDED = ("annotations", "instances", "_annotations.coco", "instances_default", "result")
_OTHERS = ("captions", "panoptic", "stuff", "image_info")  # of COCO's own files, which have no boxes of objects
_KEYS = (b'"images"', b'"annotations"', b'"categories"')
UNMARKED = False


class CocoImages(AnnotatedImages):
    """Images and boxes of one split of a data set in COCO's layout; a `Dataset` whose targets are `Objects`.

    `root` holds the json as `annotations/SPLIT.json`, `annotations/instances_SPLIT*.json` or
    `SPLIT/_annotations.coco.json`, or else as a json with the split's name in its own there or in `root`; and the
    images in `SPLIT`, `SPLIT2017` or the like, `images/SPLIT`, or beside the json. An undivided one (`split` None) has
    `annotations.json`, `instances.json`, `_annotations.coco.json` or, as tools write them, `instances_default.json` or
    `result.json`.
    Category ids may have holes: classes are the categories by rising id, and `category_ids` leads back. A category that
    only groups all others, as Roboflow writes it, is left out. Images without a size in the json are opened for it.
    Boxes are clipped to the image; those without area are left out, see `AnnotatedImages`.
    Raises DataError, one sentence, for what is not such a data set, and for boxes in another form than COCO's.
    """

    layout = "COCO"
    kinds: ClassVar[Sequence[str]] = ("instances",)

    def __init__(self, root: str | os.PathLike[str], split: str | None, *, side: int | None = None) -> None:
        self.root, self.split = Path(root), split
        self.json = _annotations(self.root, split, self.kinds)
        content = _read_json(self.json)
        annotations = _rows(content, "annotations", self.json, ("image_id", "category_id", "bbox"))
        categories, notes = _categories(content, self.json, annotations)
        images = _images(content, self.json)
        names = [str(row["file_name"]) for row in images]
        self.folder = _images_folder(self.root, split, self.json, names[:100])
        paths = [located_image(self.folder, name) for name in names]
        notes += named_twice(paths, names)
        declared = [_declared(row, self.json) for row in images]
        sides = [size or measured_size(path) for size, path in zip(declared, paths, strict=True)]
        labels = {row["id"]: label for label, row in enumerate(categories)}
        places = {row["id"]: place for place, row in enumerate(images)}
        things: list[list[Annotation]] = [[] for _ in images]
        # What else the json says of each thing, for layouts that read more than boxes.
        self.rows: list[list[dict[str, Any]]] = [[] for _ in images]
        for number, row in enumerate(annotations):
            where = f"Annotation {row.get('id', number)} of {self.json}"
            if row["image_id"] not in places:
                raise DataError(f"{where} is of an image {_short(row['image_id'])} that the file does not list.")
            if row["category_id"] not in labels:
                raise DataError(f"{where} is of a category {_short(row['category_id'])} that the file does not list.")
            place = places[row["image_id"]]
            label = labels[row["category_id"]]
            things[place].append(_thing(row, label, sides[place], where))
            if len(self.kinds) > 1:
                outline = row.get("segmentation")
                self.rows[place].append(
                    {"outline": outline, "box": row["bbox"], "label": label, "crowd": things[place][-1].crowd}
                )
        notes += _checked_forms(things, sides, self.json)
        if split is None or split_of_folder(self.folder.name) == split:
            notes += _unlisted(self.folder, paths, self.json)
        super().__init__(
            [str(row["name"]) for row in categories], paths, things, names=names,
            origin=f"{self.root}, {f'split {split!r}' if split else 'undivided'}, boxes from {self.json.name}",
            category_ids=[row["id"] for row in categories], image_ids=[row["id"] for row in images],
            declared_sizes=declared, side=side, notes=notes,
        )  # fmt: skip


def _without_group(
    categories: list[dict[str, Any]], annotations: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Leaves out a category that has no objects and that most others name as the one above them; with a note."""
    used = {row["category_id"] for row in annotations}
    for group in (row for row in categories if row["id"] not in used):
        others = [row for row in categories if row is not group]
        # Roboflow may write the name with a hash behind it.
        name = str(group["name"]).casefold()
        above = [str(row.get("supercategory") or "").casefold() for row in others]
        if sum(each in (name, name.rpartition("-")[0]) and each != "" for each in above) > len(others) / 2:
            return others, [f"The category {group['name']!r} only groups others, and is left out."]
    return categories, []


def _checked_forms(
    things: Sequence[Sequence[Annotation]], sides: Sequence[tuple[float, float]], path: Path
) -> list[str]:
    """Raises DataError where most boxes are fractions of the image, or corners, instead of x, y, width and height.

    Returns a note where they may be percentages.
    """
    corners = np.array([thing.corners for each in things for thing in each], dtype=np.float64).reshape(-1, 4)
    if not len(corners):
        return []
    scale = np.array([sides[place] * 2 for place, each in enumerate(things) for _ in each])
    x, y, right, bottom = (corners * scale).T
    width, height = right - x, bottom - y
    largest = np.stack([x, y, width, height]).max(axis=0)
    if (largest <= _ONE_PIXEL).mean() > 0.5 and scale.min() > 2:
        raise DataError(
            f"The boxes of {path} lie within one pixel: they seem to be fractions of the image, and COCO's are pixels."
        )
    outside = (right > scale[:, 0] + 1) | (bottom > scale[:, 1] + 1)
    as_corners = (width > x) & (height > y) & (width <= scale[:, 0] + 1) & (height <= scale[:, 1] + 1)
    if len(corners) >= _FEW and outside.mean() > 0.5 and as_corners.mean() > 0.75:
        raise DataError(
            f"Most boxes of {path} leave their image: they seem to be corners (x0, y0, x1, y1), and COCO's are x, y, "
            "width and height."
        )
    if len(corners) >= 20 and max(right.max(), bottom.max()) <= 100 < scale.min() / 2:
        return [f"All boxes of {path} lie within 100 pixels of larger images: they may be percentages, not pixels."]
    return []


def _categories(
    content: dict[str, Any], path: Path, annotations: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the categories by rising id, and notes; raises DataError where two cannot be told apart."""
    listed = sorted(_rows(content, "categories", path, ("id", "name")), key=lambda row: row["id"])
    categories, notes = _without_group(listed, annotations)
    names = Counter(composed(str(row["name"])) for row in categories)
    repeated = [name for name, count in names.items() if count > 1]
    if not categories or repeated or len({row["id"] for row in categories}) < len(categories):
        raise DataError(
            f"{path} has categories that cannot be told apart"
            + (
                f" ({_short(repeated[0])} twice): rename one."
                if repeated
                else ": give each an id and a name of its own."
            )
        )
    return categories, notes


def _images(content: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """Returns the listed images; raises DataError where there are none."""
    images = _rows(content, "images", path, ("id", "file_name"))
    if not images:
        raise DataError(f"{path} lists no images.")
    for row in images:
        if not _is_file_name(str(row["file_name"])):
            raise DataError(f"{path} lists an image {_short(row['file_name'])}, which is not the name of a file.")
    repeated = [number for number, count in Counter(row["id"] for row in images).items() if count > 1]
    if repeated:
        raise DataError(f"{path} gives two images the id {repeated[0]}, so that nobody knows whose the boxes are.")
    return images


def _declared(row: dict[str, Any], path: Path) -> tuple[float, float] | None:
    """Returns the (width, height) that an image is given, None where it is given none."""
    given: list[Any] = [row.get(side) for side in ("width", "height")]
    if all(value is None or value == 0 for value in given):
        return None
    if not all(isinstance(value, int | float) and 0 < value < _LONGEST for value in given):
        raise DataError(f"{path} gives {_short(row['file_name'])} a size of {_short(given[0])} x {_short(given[1])}.")
    width, height = map(float, given)
    return width, height


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
        raise DataError(f"{where} has the box {_short(row['bbox'])}, which is not finite.")
    return Annotation(corners.tolist(), label, area / (sides[0] * sides[1]), _is_true(row.get("iscrowd", 0)))


def _is_true(value: Any) -> bool:
    """Returns a mark as other programs write it, too: "0", "false"."""
    return value.strip().lower() not in ("", "0", "false", "no") if isinstance(value, str) else bool(value)


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
    """Returns whether a folder has a json in one of COCO's places."""
    return any(find_annotations(Path(spec), split) for split in (*_SPLITS, None))


def splits(spec: str) -> tuple[str, ...]:
    """Returns the splits that have a json."""
    return tuple(split for split in _SPLITS if find_annotations(Path(spec), split))


def open_split(spec: str, split: str | None, opening: Opening) -> Dataset:
    """Opens a split as it is divided on disk, or an undivided data set; see `CocoImages`."""
    return CocoImages(spec, split, side=opening.side)


def find_annotations(root: Path, split: str | None, kinds: Sequence[str] = ("instances",)) -> list[Path]:
    """Returns the json of a split, or all that may be it; what has a plainer name goes before others.

    `kinds` begin the names of those of COCO's own files that are wanted, in order.
    """
    top = _jsons(root)
    apart = [path for home in _folders(root) if home.name.casefold() == _HOME for path in _jsons(home)]
    if split is None:
        tiers = [[path for path in (*top, *apart) if path.stem.casefold() in _UNDIVIDED]]
    else:
        own = [path for home in _folders(root) if split_of_folder(home.name) == split for path in _jsons(home)]
        named = [path for path in (*apart, *top) if not path.stem.casefold().startswith(_OTHERS)]
        tiers = [
            [path for path in apart if split_of_folder(path.stem) == split],
            *(
                [path for path in apart if path.stem.startswith(kind) and _split_in(path.stem) == split]
                for kind in kinds
            ),
            [path for path in own if path.stem.casefold() in _UNDIVIDED],
            [path for path in named if _split_in(path.stem) == split],
        ]
    found = ([path for path in tier if _seems_coco(path)] for tier in tiers)
    return next(filter(None, found), [])


def _folders(root: Path) -> list[Path]:
    return [Path(entry.path) for entry in entries_in(root) if entry.is_dir()]


def _jsons(folder: Path) -> list[Path]:
    found = (Path(entry.path) for entry in entries_in(folder) if entry.name.lower().endswith(".json"))
    return [path for path in found if path.suffix.lower() == ".json" and path.is_file()]


def _split_in(stem: str) -> str | None:
    try:
        return split_of_file(stem)
    except DataError:  # a name with the words of two splits is of neither
        return None


def _seems_coco(path: Path) -> bool:
    """Returns whether a json may be COCO's, from its beginning; what is damaged may be, and is reported when read."""
    if path.parent.name.casefold() == _HOME:
        return True
    with suppress(OSError), path.open("rb") as file:
        beginning = file.read(1 << 16).replace(b"\0", b"")
        return any(key in beginning for key in _KEYS)
    return True


def _annotations(root: Path, split: str | None, kinds: Sequence[str]) -> Path:
    if not root.is_dir():
        raise DataError(f"The folder {root} does not exist: give one with images and COCO's json.")
    found = find_annotations(root, split, kinds)
    if not found:
        raise DataError(
            f"{root} has no json for the split {split!r}: put it at annotations/{split}.json, or as "
            f"annotations/instances_{split}2017.json or {split}/_annotations.coco.json."
        )
    if len(found) > 1:
        what = f"the split {split!r}" if split else "all images"
        raise DataError(f"{root} has two json files for {what}, {found[0].name} and {found[1].name}: leave one there.")
    return found[0]


def _images_folder(root: Path, split: str | None, annotations: Path, names: Sequence[str]) -> Path:
    """Finds where the images lie: where most of the first ones that the file lists are."""
    below = [path for home in (root, root / "images") for path in sorted(home.glob("*")) if path.is_dir()]
    own = [path for path in below if split is not None and split_of_folder(path.name) == split]
    inside = [path / "images" for path in own]
    folders = [path for path in (root, root / "images", annotations.parent, *own, *inside) if path.is_dir()]
    if split is None:
        folders += below
    best = max(folders, key=lambda folder: sum(os.path.exists(located_image(folder, name)) for name in names))
    if any(os.path.exists(located_image(best, name)) for name in names):
        return best
    # A missing image is skipped when it is read; the split's own folder is where it would be.
    if not own:
        what = f"for the split {split!r}" if split else "that the json lists"
        raise DataError(f"{root} has no folder of images {what}: {_short(names[0])} was not found.")
    return own[0]


def _unlisted(folder: Path, paths: Sequence[Path], json_file: Path) -> list[str]:
    """Returns sentences about what lies in a folder of images and is not read."""
    walked, listed = walk_images(os.fspath(folder)), {*map(os.path.normpath, paths)}
    others = [path for path, _ in walked.images if os.path.normpath(path) not in listed]
    more = [f"Not read: {count_of(len(others), 'image')} in {folder}, not listed in {json_file.name}."]
    return [*notes_on([walked]), *(more if others else [])]


def read_ids(path: Path) -> tuple[list[tuple[str, int]], dict[str, int]]:
    """Returns the file names of a json's images with their ids, and the ids of its categories by name.

    Raises DataError if the file is not such a json.
    """
    content = _read_json(path)
    images = [(str(row["file_name"]).replace("\\", "/"), row["id"]) for row in _images(content, path)]
    return images, {str(row["name"]): row["id"] for row in _rows(content, "categories", path, ("id", "name"))}


def _read_json(path: Path) -> dict[str, Any]:
    text = read_text(path)
    try:
        content = json.loads(text)
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
        for name in needed:
            if name.endswith("id"):
                row[name] = _whole(row[name], f"Entry {number} of {key!r} in {path} has the {name}")
    return list(rows)


def _whole(value: Any, where: str) -> int:
    """Returns an id as a whole number, as other programs write it, too: 7.0 or "7"."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and len(value) < 20 and value.strip().isdecimal():
        return int(value)
    raise DataError(f"{where} {_short(value)}, which is not a whole number.")
