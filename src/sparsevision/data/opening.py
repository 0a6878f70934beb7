"""From what the user names to a data set."""

from __future__ import annotations

import os

from sparsevision.data.caching import CachedDataset
from sparsevision.data.dataset import Dataset, Split, check_split
from sparsevision.data.digits import Digits
from sparsevision.data.folders import ImageFolder
from sparsevision.data.scenes import PlacedDigits
from sparsevision.data.shards import Shards, is_shard_pattern
from sparsevision.errors import DataError

PLACED_DIGITS = "placed-digits:"
_SCENES_TO_LEARN_FROM, _SCENES_TO_SCORE = 33_000, 2_000


def open_dataset(
    spec: str | os.PathLike[str],
    split: Split = "train",
    *,
    seed: int = 0,
    val_fraction: float = 0.2,
    side: int | None = None,
    cache: int = 0,
) -> Dataset:
    """Opens a split ("train", "val", or "all" of both) of a data set.

    `spec` is a folder of class folders, with `train` and `val` folders or without; tar shards in WebDataset's layout (a
    path, glob or brace pattern, or a folder of them); "digits"; or "placed-digits:SPEC", digits drawn on the pictures
    of another data set (for train a lesson in which they shrink, for one unshuffled epoch).
    What is not divided yet is divided by hash and `seed`, `val_fraction` of each class for "val";
    `dataset.origin` says how. `side` lets large JPEGs be decoded smaller, see `read_picture`; `cache` keeps up to so
    many MiB of decoded pictures in memory.
    Raises DataError, one sentence, for what is no such data set.
    """
    check_split(split)
    if not 0 < val_fraction < 1:
        raise DataError(f"The share for validation is {val_fraction}: give a number between 0 and 1.")
    spec = os.fspath(spec)
    if spec.startswith(PLACED_DIGITS):
        photographs = open_dataset(
            spec.removeprefix(PLACED_DIGITS), split, seed=seed, val_fraction=val_fraction, side=side, cache=cache
        )
        digits = Digits(split, seed=seed, val_fraction=val_fraction)
        # Scene 7 of val is to lie elsewhere than scene 7 of train.
        if split == "val":
            return PlacedDigits(photographs, digits, length=_SCENES_TO_SCORE, seed=2 * seed + 1)
        return PlacedDigits(photographs, digits, length=_SCENES_TO_LEARN_FROM, shrinking=0.7, seed=2 * seed)
    if spec == "digits":
        return Digits(split, seed=seed, val_fraction=val_fraction)
    kind = Shards if is_shard_pattern(spec) else ImageFolder
    dataset = kind(spec, split, seed=seed, val_fraction=val_fraction, side=side)
    return CachedDataset(dataset, cache) if cache else dataset
