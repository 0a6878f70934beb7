"""From what the user names to a data set."""

from __future__ import annotations

import os

from sparsevision.data.dataset import Dataset, Split, check_split
from sparsevision.data.folders import ImageFolder


def open_dataset(
    spec: str | os.PathLike[str],
    split: Split = "train",
    *,
    seed: int = 0,
    val_fraction: float = 0.2,
    side: int | None = None,
) -> Dataset:
    """Opens a split of a data set: a folder, tar shards or "digits"."""
    check_split(split)
    return ImageFolder(spec, split, seed=seed, val_fraction=val_fraction, side=side)
