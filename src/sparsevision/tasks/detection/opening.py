"""A data set with boxes of any layout, opened for detection."""

from __future__ import annotations

from pathlib import Path

from sparsevision.data.dataset import Dataset, Opening, check_object_split
from sparsevision.data.layouts.registry import DataLayout, splits_of
from sparsevision.errors import DataError
from sparsevision.tasks.registry import layout_of


def open_boxes(task: str, spec: str, split: str, opening: Opening) -> Dataset:
    """Opens a split ("train", "val" or "test") whose records have `Objects` as their target."""
    return _layout(task, spec).open_split(spec, check_object_split(split), opening)


def splits_of_boxes(task: str, spec: str) -> tuple[str, ...]:
    """Returns the splits of a data set, train and val even where they are missing."""
    return splits_of(_layout(task, spec), spec)


def _layout(task: str, spec: str) -> DataLayout:
    found = layout_of(task, spec)
    if found is not None:
        return found
    if not Path(spec).is_dir():
        raise DataError(f"The folder {spec} does not exist: give one with images and their boxes.")
    raise DataError(
        f"{spec} has no boxes: put COCO's json at annotations/train.json, YOLO's data.yaml into it, or Pascal VOC's "
        "xml files into Annotations."
    )
