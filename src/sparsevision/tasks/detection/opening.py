"""A data set with boxes of any layout, opened for detection."""

from __future__ import annotations

import os
from pathlib import Path

from sparsevision.data.dataset import Dataset, check_object_split
from sparsevision.data.layouts.registry import DataLayout
from sparsevision.errors import DataError
from sparsevision.tasks.registry import layout_of


def open_boxes(
    task: str, spec: str | os.PathLike[str], split: str, *, seed: int, side: int | None, cache: int
) -> Dataset:
    """Opens a split ("train", "val" or "test") whose records have `Objects` as their target.

    `seed` divides the photographs of drawn scenes where they are not divided yet. Raises DataError, one sentence, for
    what no layout recognises.
    """
    check_object_split(split)
    return _layout(task, spec).open_split(os.fspath(spec), split, seed=seed, side=side, cache=cache)


def splits_of(task: str, spec: str | os.PathLike[str]) -> tuple[str, ...]:
    """Returns the splits of a data set, train and val even where they are missing."""
    return _layout(task, spec).splits(os.fspath(spec))


def _layout(task: str, spec: str | os.PathLike[str]) -> DataLayout:
    found = layout_of(task, spec)
    if found is not None:
        return found
    if not Path(spec).is_dir():
        raise DataError(f"There is no folder {os.fspath(spec)}: give one with pictures and their boxes.")
    raise DataError(
        f"{os.fspath(spec)} has no boxes: put COCO's json at annotations/train.json, YOLO's data.yaml into it, or "
        f"Pascal VOC's xml files into Annotations."
    )
