"""From what the user names to a data set of pictures with boxes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sparsevision.data.caching import CachedObjects
from sparsevision.data.coco import CocoDetection, has_coco_split, is_coco_folder
from sparsevision.data.dataset import ObjectDataset, ObjectSplit, Split, check_object_split
from sparsevision.data.digit_scenes import DigitScenes
from sparsevision.data.digits import Digits
from sparsevision.data.opening import open_dataset
from sparsevision.data.voc import VocDetection, has_voc_split, is_voc_folder
from sparsevision.data.yolo import YoloDetection, has_yolo_split, is_yolo_folder
from sparsevision.errors import DataError

DIGIT_SCENES = "digit-scenes:"
_SCENES = {"train": 7000, "val": 500, "test": 1000}
# Halves of what is never trained on.
_SHARES = {"train": slice(None), "val": slice(0, None, 2), "test": slice(1, None, 2)}


def open_objects(
    spec: str | os.PathLike[str],
    split: ObjectSplit = "train",
    *,
    seed: int = 0,
    side: int | None = None,
    cache: int = 0,
) -> ObjectDataset:
    """Opens a split ("train", "val" or "test") of a data set for detection.

    `spec` is a folder in COCO's, YOLO's or Pascal VOC's layout, or "digit-scenes:SPEC", digits drawn on the pictures of
    a data set for classification; `seed` then says which of its pictures and which digits are for validation, where
    they are not divided yet, and their halves are for "val" and for "test".
    `side` lets large JPEGs be decoded smaller, see `read_picture`; `cache` keeps up to so many MiB of decoded pictures
    in memory. Raises DataError, one sentence, for what is no such data set.
    """
    check_object_split(split)
    spec = os.fspath(spec)
    if spec.startswith(DIGIT_SCENES):
        return _digit_scenes(spec.removeprefix(DIGIT_SCENES), split, seed=seed, side=side, cache=cache)
    dataset = _layout_of(spec).kind(spec, split, side=side)
    return CachedObjects(dataset, cache) if cache else dataset


def is_for_detection(spec: str | os.PathLike[str]) -> bool:
    """Says whether `open_objects` knows the layout of what was named."""
    spec = os.fspath(spec)
    return spec.startswith(DIGIT_SCENES) or any(layout.fits(spec) for layout in _LAYOUTS)


def object_splits(spec: str | os.PathLike[str]) -> tuple[ObjectSplit, ...]:
    """Returns the splits that a data set for detection has, train and val even where they are missing."""
    spec = os.fspath(spec)
    there = spec.startswith(DIGIT_SCENES) or _layout_of(spec).has(spec, "test")
    return ("train", "val", "test") if there else ("train", "val")


class _Layout(NamedTuple):
    """How a data set may lie on disk: who reads it, whether a folder is such a one, and whether it has a split."""

    kind: type[CocoDetection | YoloDetection | VocDetection]
    fits: Callable[[str], bool]
    has: Callable[[str, ObjectSplit], bool]


_LAYOUTS = (
    _Layout(CocoDetection, is_coco_folder, has_coco_split),
    _Layout(YoloDetection, is_yolo_folder, has_yolo_split),
    _Layout(VocDetection, is_voc_folder, has_voc_split),
)


def _layout_of(root: str) -> _Layout:
    if not Path(root).is_dir():
        raise DataError(f"There is no folder {root}: give one with pictures and their boxes.")
    found = next((layout for layout in _LAYOUTS if layout.fits(root)), None)
    if found is None:
        raise DataError(
            f"{root} has no boxes: put COCO's json at annotations/train.json, YOLO's data.yaml into it, or Pascal "
            f"VOC's xml files into Annotations."
        )
    return found


def _digit_scenes(spec: str, split: ObjectSplit, *, seed: int, side: int | None, cache: int) -> DigitScenes:
    learned: Split = "train" if split == "train" else "val"
    photographs = open_dataset(spec, learned, seed=seed, side=side, cache=cache)
    digits = Digits(learned, seed=seed)
    # Scene 7 of val is to lie elsewhere than scene 7 of train.
    place = 3 * seed + ("train", "val", "test").index(split)
    return DigitScenes(photographs, digits, length=_SCENES[split], share=_SHARES[split], seed=place)
