"""A labelled data set of any layout, opened for classification."""

from __future__ import annotations

from sparsevision.data.dataset import Dataset, Opening, check_split
from sparsevision.data.layouts import class_folders
from sparsevision.tasks.registry import layout_of


def open_labelled(task: str, spec: str, split: str, opening: Opening) -> Dataset:
    """Opens a split ("train", "val", or "all" of both); `dataset.origin` tells how it was divided."""
    return (layout_of(task, spec) or class_folders).open_split(spec, check_split(split), opening)
