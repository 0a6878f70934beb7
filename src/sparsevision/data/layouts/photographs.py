"""Photographs of any labelled layout, as grounds for drawn data sets."""

from __future__ import annotations

from sparsevision.data.dataset import Dataset, Opening
from sparsevision.data.layouts import class_folders, digits, shards


def open_photographs(spec: str, split: str, opening: Opening) -> Dataset:
    """Opens a split of class folders, shards or digits; their labels are not used."""
    layout = next((each for each in (digits, shards) if each.recognises(spec)), class_folders)
    return layout.open_split(spec, split, opening)
