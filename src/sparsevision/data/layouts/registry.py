"""The table of layouts, each a module with the functions of `DataLayout`."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from sparsevision.data.dataset import Dataset
from sparsevision.errors import UnknownNameError


class DataLayout(Protocol):
    """What a layout's module holds.

    `UNMARKED` is true for a layout without a file or a form of name by which it is told from others.
    """

    UNMARKED: bool

    def recognises(self, spec: str) -> bool:
        """Returns whether a data set has this layout."""

    def splits(self, spec: str) -> tuple[str, ...]:
        """Returns the splits that a data set has, "train" and "val" even where they are missing."""

    def open_split(
        self,
        spec: str,
        split: str,
        *,
        seed: int = 0,
        val_fraction: float = 0.2,
        side: int | None = None,
        cache: int = 0,
    ) -> Dataset:
        """Opens a split; `seed` and `val_fraction` divide what is not divided on disk."""


LAYOUTS: dict[str, str] = {
    name: f"sparsevision.data.layouts.{name}"
    for name in ("class_folders", "coco", "digit_scenes", "digits", "placed_digits", "shards", "voc", "yolo")
}


def layout_named(name: str) -> DataLayout:
    """Returns a layout; raises UnknownNameError where nothing is registered under the name."""
    if name not in LAYOUTS:
        raise UnknownNameError("layout", name, LAYOUTS)
    return cast(DataLayout, import_module(LAYOUTS[name]))
