"""Faults of a data set of videos: broken ones, copies in several splits, absent classes, odd lengths and rates."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sparsevision.data.dataset import Dataset
from sparsevision.data.inspection import (
    FEW_IMAGES,
    Examination,
    Inspection,
    Seen,
    SplitInspection,
    copies,
    examine_splits,
    first_copies,
    leaks,
    listed,
)
from sparsevision.data.videos import VideoInfo
from sparsevision.errors import UnreadableImageError
from sparsevision.files import hash_of
from sparsevision.tasks.labels.inspection import crop_remarks
from sparsevision.types import Preprocessing, Skipped, Table
from sparsevision.wording import count_of

_SHORT = 0.5  # seconds
_MANY_PIXELS = 1280 * 720


@dataclass(frozen=True, kw_only=True)
class VideoSplit(SplitInspection):
    """One split with its videos per class, their durations in seconds and their rates in frames a second."""

    per_class: dict[str, int]
    seconds: tuple[float, float, float] | None
    rates: tuple[float, float, float] | None
    rotated: tuple[str, ...]
    untimed: tuple[str, ...]
    short: tuple[str, ...]
    large: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class VideoInspection(Inspection):
    """A data set of videos; `contradictory` are groups of names of identical files with different labels."""

    splits: Sequence[VideoSplit] = ()
    contradictory: tuple[tuple[str, ...], ...] = ()

    def tables(self) -> list[Table]:
        """Returns a row for each split."""
        columns = ("split", "videos", "classes", "fewest", "most", "seconds", "frames a second", "short side", "broken")
        rows = []
        for split in self.splits:
            counts = [count for count in split.per_class.values() if count] or [0]
            numbers = (split.images, sum(map(bool, split.per_class.values())), min(counts), max(counts))
            ranges = (_range(split.seconds), _range(split.rates), split.side_cells[0])
            rows.append((split.split, *map(str, numbers), *ranges, str(len(split.broken))))
        heading = f"Data set {self.spec}, {len(self.classes)} classes of videos; least–most (median), sides in pixels"
        return [Table(heading=heading, columns=columns, rows=tuple(rows))]


def inspect_videos(
    open_split: Callable[[str], Dataset], splits_of: Callable[[], Sequence[str]],
    check: Callable[[str, Dataset, Dataset], None], spec: str,
    progress: Callable[[int, int], None] | None = None,
) -> VideoInspection:  # fmt: skip
    """Decodes the beginning, the middle and the end of every video and reports faults.

    `progress(done, total)` is called along the way. A split that cannot be opened gives its one sentence in `harmful`.
    """
    examined = examine_splits(_VideoExamination, open_split, splits_of, progress)
    if not examined.splits:
        return VideoInspection(spec=spec, harmful=tuple(examined.refused))
    sizes = [info.size for one in examined.splits for info in one.infos.values()]
    splits, classes = [one.report() for one in examined.splits], examined.splits[0].dataset.classes
    leaked, contradictory = copies(examined.seen, "split"), copies(examined.seen, "label")
    harmful = (
        *examined.refusals(check, spec),
        *_unreadable(splits),
        *leaks(leaked, "video"),
        *first_copies(contradictory, "with more than one label", "video"),
        *(sentence for split in splits for sentence in _absent(split)),
    )
    return VideoInspection(
        spec=spec, classes=classes, splits=splits, leaked=leaked, contradictory=contradictory, harmful=harmful,
        notes=(*examined.notes(), *crop_remarks(sizes, Preprocessing(frames=1)), *_notes(splits)),
    )  # fmt: skip


class _VideoExamination(Examination):
    """Examines the videos of one split."""

    def __init__(self, split: str, dataset: Dataset) -> None:
        super().__init__(split, dataset)
        self.infos: dict[str, VideoInfo] = {}

    def take(self, index: int) -> None:
        """Decodes three frames of a video, and hashes its file."""
        name = str(self.dataset.names[index])
        try:
            video = self.dataset.read(index).image
            info = video.info
            video.read([0.0, info.duration / 2, info.duration])
            digest = self._digest(index)
        except (UnreadableImageError, OSError) as error:
            self.broken.append(Skipped(name, str(error)))
            return
        self.infos[name] = info
        self.seen.append(Seen(self.split, name, self.dataset.labels[index], digest))
        self.sizes.append(info.size)

    def _digest(self, index: int) -> bytes:
        """Hashes a video's bytes; of a file block by block."""
        if (path := getattr(self.dataset, "path", None)) is not None:
            return hash_of(path(index))
        return hashlib.blake2b(self.dataset.content(index), digest_size=16).digest()

    def report(self) -> VideoSplit:
        """Sums up."""
        counts = Counter(self.dataset.labels)
        infos = self.infos

        def named(condition: Callable[[VideoInfo], bool]) -> tuple[str, ...]:
            return tuple(name for name, info in infos.items() if condition(info))

        return VideoSplit(
            **self.basics(),
            per_class={name: counts[label] for label, name in enumerate(self.dataset.classes)},
            seconds=_three([info.duration for info in infos.values()]),
            rates=_three([info.rate for info in infos.values()]),
            rotated=named(lambda info: info.rotation != 0),
            untimed=named(lambda info: not info.timed),
            short=named(lambda info: info.duration < _SHORT),
            large=named(lambda info: info.size[0] * info.size[1] > _MANY_PIXELS),
        )


def _three(values: Sequence[float]) -> tuple[float, float, float] | None:
    if not values:
        return None
    return min(values), float(np.median(values)), max(values)


def _range(values: tuple[float, float, float] | None) -> str:
    return "-" if values is None else f"{values[0]:.3g}–{values[2]:.3g} ({values[1]:.3g})"


def _unreadable(splits: Sequence[VideoSplit]) -> list[str]:
    broken = [skipped for split in splits for skipped in split.broken]
    if not broken:
        return []
    return [f"{count_of(len(broken), 'video')} cannot be read and would be skipped, first: {broken[0].reason}"]


def _absent(split: VideoSplit) -> list[str]:
    absent = [name for name, count in split.per_class.items() if not count]
    return listed(absent, f"without a video in {split.split}", "class", "classes")


def _notes(splits: Sequence[VideoSplit]) -> list[str]:
    notes = []
    for split in splits:
        notes += listed(split.short, f"in {split.split} shorter than {_SHORT} seconds", "video")
        notes += listed(split.rotated, f"in {split.split} stored turned, and turned upright when read", "video")
        without = f"in {split.split} whose frames have no times of their own, and are counted at the declared rate"
        notes += listed(split.untimed, without, "video")
        notes += listed(split.large, f"in {split.split} of more than 1280 x 720 pixels, slow to decode", "video")
    counts = splits[0].per_class
    few = [name for name, count in counts.items() if 0 < count < FEW_IMAGES]
    notes += listed(few, f"with fewer than {FEW_IMAGES} in train", "class", "classes")
    return notes
