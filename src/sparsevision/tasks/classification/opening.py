"""A labelled data set of any layout, opened for classification."""

from __future__ import annotations

import os

from sparsevision.data.dataset import Dataset, check_split
from sparsevision.data.layouts import class_folders
from sparsevision.errors import DataError
from sparsevision.tasks.registry import layout_of


def open_labelled(
    task: str, spec: str | os.PathLike[str], split: str, *, seed: int, val_fraction: float, side: int | None, cache: int
) -> Dataset:
    """Opens a split ("train", "val", or "all" of both).

    What is not divided yet is divided by hash and `seed`, `val_fraction` of each class for "val"; `dataset.origin`
    tells how. Raises DataError, one sentence, for what no layout recognises.
    """
    check_split(split)
    if not 0 < val_fraction < 1:
        raise DataError(f"The share for validation is {val_fraction}: give a number between 0 and 1.")
    layout = layout_of(task, spec) or class_folders
    return layout.open_split(os.fspath(spec), split, seed=seed, val_fraction=val_fraction, side=side, cache=cache)
