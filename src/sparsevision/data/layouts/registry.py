"""The table of layouts, each a module with the functions of `DataLayout`."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from sparsevision.data.dataset import Dataset, Opening
from sparsevision.errors import UnknownNameError


class DataLayout(Protocol):
    """The contents of a layout's module.

    `UNMARKED` is true for a layout without a file or a form of name by which it is told from others. Data sets are
    opened through `splitting.open_part`, which knows what to do where they are not divided.
    """

    UNMARKED: bool

    def recognises(self, spec: str) -> bool:
        """Returns whether a data set has this layout."""

    def splits(self, spec: str) -> tuple[str, ...]:
        """Returns the splits that are named on disk: "train", "val" and "test"; none where nothing is divided."""

    def open_split(self, spec: str, split: str | None, opening: Opening) -> Dataset:
        """Opens a split that is named on disk, or the whole of an undivided data set for None."""


LAYOUTS: dict[str, str] = {
    name: f"sparsevision.data.layouts.{name}"
    for name in (
        "ade20k",
        "cityscapes",
        "class_folders",
        "coco",
        "coco_masks",
        "digit_scenes",
        "digits",
        "lip",
        "mask_folders",
        "moving_digits",
        "placed_digits",
        "shards",
        "video_folders",
        "video_lists",
        "video_shards",
        "voc",
        "voc_masks",
        "yolo",
    )
}


def layout_named(name: str) -> DataLayout:
    """Returns a layout; raises UnknownNameError where nothing is registered under the name."""
    if name not in LAYOUTS:
        raise UnknownNameError("layout", name, LAYOUTS)
    return cast(DataLayout, import_module(LAYOUTS[name]))
