"""A folder of class folders with videos, or of a folder of these for each split."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import ClassVar

from sparsevision.data.dataset import Dataset, Opening
from sparsevision.data.file_kinds import IMAGES, VIDEOS, FileKind
from sparsevision.data.layouts.class_folders import ImageFolder, split_folders
from sparsevision.data.walking import walk

UNMARKED = False
_LOOKED_AT = 1000  # files that tell what a folder holds


class VideoFolder(ImageFolder):
    """Videos whose label is the name of the folder they lie in; as `ImageFolder`, but that records hold a `Video`."""

    kind: ClassVar[FileKind] = VIDEOS


def recognises(spec: str) -> bool:
    """Returns whether a path is a folder of folders with videos in them, of which there may be a still beside each."""
    if not os.path.isdir(spec):
        return False
    files = (name for _, names in walk(spec, lambda error: None) for name in names)
    seen = [*islice(files, _LOOKED_AT)]
    return sum(map(VIDEOS.wanted, seen)) * 2 > sum(map(IMAGES.wanted, seen))


def splits(spec: str) -> tuple[str, ...]:
    """Returns the splits that have a folder."""
    return tuple(split_folders(Path(spec), VIDEOS))


def open_split(spec: str, split: str | None, opening: Opening) -> Dataset:
    """Opens the class folders of a split, or those of a folder without splits; see `VideoFolder`."""
    return VideoFolder(spec, split, side=opening.side)
