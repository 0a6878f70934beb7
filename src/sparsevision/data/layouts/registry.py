"""The table of layouts, each a module with the functions of `DataLayout`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol, cast

from sparsevision.data.dataset import Dataset, Opening
from sparsevision.errors import UnknownNameError


class DataLayout(Protocol):
    """The contents of a layout's module.

    `UNMARKED` is true for a layout without a file or a form of name by which it is told from others. One whose data
    sets may have other splits than "train" and "val" also has `splits(spec)`, which lists them.
    """

    UNMARKED: bool

    def recognises(self, spec: str) -> bool:
        """Returns whether a data set has this layout."""

    def open_split(self, spec: str, split: str, opening: Opening) -> Dataset:
        """Opens a split."""


LAYOUTS: dict[str, str] = {
    name: f"sparsevision.data.layouts.{name}"
    for name in ("class_folders", "coco", "digit_scenes", "digits", "placed_digits", "shards", "voc", "yolo")
}


def layout_named(name: str) -> DataLayout:
    """Returns a layout; raises UnknownNameError where nothing is registered under the name."""
    if name not in LAYOUTS:
        raise UnknownNameError("layout", name, LAYOUTS)
    return cast(DataLayout, import_module(LAYOUTS[name]))


def splits_of(layout: DataLayout, spec: str) -> tuple[str, ...]:
    """Returns the splits of a data set, "train" and "val" even where they are missing."""
    found: Callable[[str], tuple[str, ...]] | None = getattr(layout, "splits", None)
    return ("train", "val") if found is None else found(spec)
