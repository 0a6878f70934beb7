"""Tar files in WebDataset's layout that hold videos, each read from its place when its turn comes."""

from __future__ import annotations

from typing import ClassVar

from sparsevision.data.dataset import Dataset, Opening
from sparsevision.data.file_kinds import VIDEOS, FileKind
from sparsevision.data.layouts import shards

UNMARKED = False
splits = shards.splits


class VideoShards(shards.Shards):
    """Videos in tar files; as `Shards`, but that records hold a `Video` of the bytes of one."""

    kind: ClassVar[FileKind] = VIDEOS


def recognises(spec: str) -> bool:
    """Returns whether a data set's name means tar shards that begin with a video."""
    return shards.means_shards(spec) and shards.begins_with(spec, VIDEOS)


def open_split(spec: str, split: str | None, opening: Opening) -> Dataset:
    """Opens the shards of a split, or all of them; see `VideoShards`."""
    return VideoShards(spec, split, side=opening.side)
