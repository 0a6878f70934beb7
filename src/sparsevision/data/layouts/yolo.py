"""Images with boxes in the layout that YOLO is trained on: data.yaml, and a text of boxes for every image."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsevision.data.caching import cached
from sparsevision.data.dataset import Dataset, Opening, check_object_split
from sparsevision.data.layouts import annotated_images
from sparsevision.data.layouts.annotated_images import SPLIT_NAMES, AnnotatedImages, Annotation, supervision_reader
from sparsevision.data.layouts.class_folders import walk_images
from sparsevision.data.reading import is_image_name
from sparsevision.errors import DataError, MissingExtraError

FILES = ("data.yaml", "data.yml", "dataset.yaml")
UNMARKED = False


class YoloImages(AnnotatedImages):
    """Images and boxes of one split of a data set in ultralytics' layout; a `Dataset` whose targets are `Objects`.

    `root` holds `data.yaml` with the `names` of the classes and where the images of `train`, `val` and `test` lie:
    folders, or texts that list images. Where it says nothing of a split, `images/SPLIT` and `SPLIT/images` are tried.
    The boxes of `.../images/a.jpg` are in `.../labels/a.txt`; an image without one shows nothing. Of outlines the box
    is taken. No image is opened before it is read.
    Raises DataError, one sentence, for what is not such a data set.
    """

    layout = "YOLO"

    def __init__(self, root: str | os.PathLike[str], split: str = "train", *, side: int | None = None) -> None:
        self.root, self.split = Path(root), split
        self.yaml = _described_by(self.root)
        content = _read_yaml(self.yaml)
        names = _names(content, self.yaml)
        paths = [path for place in _places(self.root, content, split, self.yaml) for path in _listed(place, self.root)]
        if not paths:
            raise DataError(f"The split {split!r} of {self.root} has no images where {self.yaml.name} says.")
        labels = {number: label for label, number in enumerate(names)}
        lines_to_things = supervision_reader("YOLO", "yolo", "yolo_annotations_to_detections")
        super().__init__(
            list(names.values()), paths, [_things(_labels_of(path), labels, lines_to_things) for path in paths],
            names=[os.path.relpath(path, self.root) for path in paths],
            origin=f"{self.root}, split {split!r}, boxes from the texts beside the images", category_ids=list(names),
            side=side,
        )  # fmt: skip


def recognises(spec: str) -> bool:
    """Returns whether a folder has a data.yaml."""
    return any((Path(spec) / name).is_file() for name in FILES)


def splits(spec: str) -> tuple[str, ...]:
    """Returns the splits: train, val, and test if data.yaml and the usual folders have it."""
    content = _read_yaml(_described_by(Path(spec)))
    return ("train", "val", "test") if _candidates(Path(spec), content, "test") else ("train", "val")


def open_split(spec: str, split: str, opening: Opening) -> Dataset:
    """Opens a split as it is divided on disk; see `YoloImages`."""
    return cached(YoloImages(spec, check_object_split(split), side=opening.side), opening.cache)


def _described_by(root: Path) -> Path:
    found = [root / name for name in FILES if (root / name).is_file()]
    if not found:
        raise DataError(f"{root} has no data.yaml: put it there, with the names of the classes.")
    return found[0]


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        import yaml
    except ImportError:
        raise MissingExtraError("pyyaml", "A data set in YOLO's layout") from None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError, yaml.YAMLError):
        raise DataError(f"{path} is not intact YAML: write it again.") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} is not in YOLO's layout: it says no 'names' and no 'train'.")
    if "kpt_shape" in content:
        raise DataError(f"{path} is of keypoints (kpt_shape), which are not read: give a data set of boxes.")
    return content


def _names(content: dict[str, Any], path: Path) -> dict[int, str]:
    """Returns the names of the classes by their numbers, rising."""
    names = content.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    numbered = isinstance(names, dict) and all(str(number).isdecimal() for number in names)
    # Aliases would let a file of a few bytes write names of any length.
    if not numbered or not names or any(isinstance(name, list | dict | set | tuple) for name in names.values()):
        raise DataError(f"{path} has no 'names': list the classes there, as in names: [ant, bee].")
    repeated = [name for name, count in Counter(map(str, names.values())).items() if count > 1]
    if repeated:
        raise DataError(f"{path} names two classes {repeated[0]!r}: rename one.")
    return {number: str(name) for number, name in sorted((int(key), name) for key, name in names.items())}


def _places(root: Path, content: dict[str, Any], split: str, path: Path) -> list[Path]:
    found = _candidates(root, content, split)
    if not found:
        raise DataError(
            f"{path} leads to no images of the split {split!r}: write {split}: with their folder, or put them into "
            f"images/{split} beside it."
        )
    return found


def _candidates(root: Path, content: dict[str, Any], split: str) -> list[Path]:
    """Returns the folders and texts that a split's images are in."""
    aliases = SPLIT_NAMES.get(split, (split,))
    said = next((content[name] for name in aliases if content.get(name)), None)
    if said is None:
        usual = [root / place for name in aliases for place in (f"images/{name}", f"{name}/images")]
        return [place for place in usual if place.is_dir()][:1]
    places = said if isinstance(said, list) else [said]
    if not all(isinstance(place, str) for place in places):
        raise DataError(f"data.yaml of {root} has no paths for {split!r}: write a folder there, or a list of them.")
    base = content.get("path")
    bases = [root / base, root] if isinstance(base, str) else [root]
    found = []
    for place in places:
        # Exported data sets say ../train/images of what lies beside data.yaml.
        below = place
        while below.startswith("../"):
            below = below[3:]
        tried = [base / kind for kind in (place, below) for base in bases]
        found += [path for path in tried if os.path.exists(path)][:1]
    return found


def _listed(place: Path, root: Path) -> list[Path]:
    """Returns the images of a folder, or of a text with one on each line."""
    if place.is_dir():
        return [Path(path) for path, _ in walk_images(os.fspath(place))]
    lines = [line.strip() for line in _read_lines(place)]
    return [root / line for line in lines if is_image_name(line)]


def _labels_of(image: Path) -> Path:
    parts = list(image.parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def _read_lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise DataError(f"{path} is not a text file: write it again, with a line for each object.") from None


def _things(path: Path, labels: dict[int, int], lines_to_things: Callable[..., Any]) -> Sequence[Annotation]:
    if not path.exists():
        return []
    lines = _read_lines(path)
    try:
        # An image of 1 x 1 pixels: boxes come out as the fractions that they are written as.
        found = lines_to_things(lines=lines, resolution_wh=(1, 1), with_masks=False)
    except ValueError as error:
        raise DataError(f"{path} has a line that is not a box: {str(error).rstrip('.')}.") from None
    boxes = np.asarray(found.xyxy, dtype=np.float64)
    numbers = [] if found.class_id is None else found.class_id.tolist()
    unknown = [number for number in numbers if number not in labels]
    if unknown:
        raise DataError(f"{path} has the class {unknown[0]}, which 'names' in data.yaml has not.")
    return annotated_images.annotations_of(boxes, [labels[number] for number in numbers])
