"""Photographs of any labelled layout, as grounds for drawn data sets."""

from __future__ import annotations

from sparsevision.data.dataset import Dataset
from sparsevision.data.layouts import class_folders, digits, shards


def open_photographs(
    spec: str, split: str, *, seed: int = 0, val_fraction: float = 0.2, side: int | None = None, cache: int = 0
) -> Dataset:
    """Opens a split of class folders, shards or digits; their labels are not used."""
    layout = next((each for each in (digits, shards) if each.recognises(spec)), class_folders)
    return layout.open_split(spec, split, seed=seed, val_fraction=val_fraction, side=side, cache=cache)
