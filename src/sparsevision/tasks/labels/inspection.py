"""Faults of a labelled data set: broken images, copies in several splits, absent and small classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sparsevision.data.dataset import Dataset
from sparsevision.data.inspection import (
    FEW_IMAGES,
    TINY_SIDE,
    Examination,
    Inspection,
    SplitInspection,
    copies,
    examine_splits,
    first_copies,
    leaks,
    listed,
)
from sparsevision.types import Preprocessing, Table
from sparsevision.wording import count_of

GIGANTIC_PIXELS = 25_000_000
_MUCH = 0.4  # of an image that is not shown


@dataclass(frozen=True, kw_only=True)
class LabelledSplit(SplitInspection):
    """One split with its images per class, and those that are tiny or gigantic."""

    per_class: dict[str, int]
    tiny: tuple[str, ...]
    gigantic: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LabelledInspection(Inspection):
    """A labelled data set; `contradictory` are groups of names of identical images with different labels."""

    splits: Sequence[LabelledSplit] = ()
    contradictory: tuple[tuple[str, ...], ...] = ()

    def tables(self) -> list[Table]:
        """Returns a row for each split."""
        columns = ("split", "images", "classes", "fewest", "most", "short side", "long side", "broken")
        rows = []
        for split in self.splits:
            counts = [count for count in split.per_class.values() if count] or [0]
            numbers = (split.images, sum(map(bool, split.per_class.values())), min(counts), max(counts))
            rows.append((split.split, *map(str, numbers), *split.side_cells, str(len(split.broken))))
        heading = f"Data set {self.spec}, {len(self.classes)} classes; sides in pixels: least–most (median)"
        return [Table(heading=heading, columns=columns, rows=tuple(rows))]


def inspect_labelled(
    open_split: Callable[[str], Dataset], splits_of: Callable[[], Sequence[str]],
    check: Callable[[str, Dataset, Dataset], None], spec: str,
    progress: Callable[[int, int], None] | None = None,
) -> LabelledInspection:  # fmt: skip
    """Decodes every image of every split once and reports faults; `progress(done, total)` is called along the way.

    A split that cannot be opened gives its one sentence in `harmful`, not an exception; so does what training would
    refuse, by the task's `check` of train and val.
    """
    examined = examine_splits(_LabelledExamination, open_split, splits_of, progress)
    if not examined.splits:
        return LabelledInspection(spec=spec, harmful=tuple(examined.refused))
    sizes = [size for one in examined.splits for size in one.sizes]
    splits, classes = [one.report() for one in examined.splits], examined.splits[0].dataset.classes
    leaked, contradictory = copies(examined.seen, "split"), copies(examined.seen, "label")
    harmful = (
        *examined.refusals(check, spec),
        *_unreadable(splits),
        *leaks(leaked),
        *first_copies(contradictory, "with more than one label"),
        *(sentence for split in splits for sentence in _absent(split)),
    )
    return LabelledInspection(
        spec=spec, classes=classes, splits=splits, leaked=leaked, contradictory=contradictory, harmful=harmful,
        notes=(*examined.notes(), *crop_remarks(sizes, Preprocessing()), *_notes(splits)),
    )  # fmt: skip


def crop_remarks(sizes: Sequence[tuple[int, int]], preprocessing: Preprocessing) -> list[str]:
    """Returns a sentence about the parts of images, or of videos, (height, width) each, that a centre crop omits."""
    if preprocessing.fit != "crop" or preprocessing.crops > 1 or not sizes:
        return []
    thing, where, remedy = "image", "objects are not in the middle", "fit=whole, which shows all of it"
    if preprocessing.frames is not None:
        thing, where, remedy = "video", "something happens at the sides", "crops=3, which shows three squares of it"
    hidden = sorted(1 - _shown(size, preprocessing) for size in sizes)
    many = sum(share > _MUCH for share in hidden)
    if not many:
        return []
    return [
        f"The centre crop never shows {hidden[len(hidden) // 2]:.0%} of the median {thing}, and more than {_MUCH:.0%} "
        f"of {many:,} of {len(hidden):,}: where {where}, train with --set transforms.evaluation.{remedy}."
    ]


def _shown(size: tuple[int, int], preprocessing: Preprocessing) -> float:
    """Returns the share of an image's area that the centre crop shows."""
    (height, width), (high, wide) = size, preprocessing.size
    scale = max(high / height, wide / width) / preprocessing.crop_fraction
    return high * wide / (scale**2 * height * width)


class _LabelledExamination(Examination):
    """Examines the images of one split of classes."""

    def __init__(self, split: str, dataset: Dataset) -> None:
        super().__init__(split, dataset)
        self.tiny: list[str] = []
        self.gigantic: list[str] = []

    def take(self, index: int) -> None:
        """Reads one image, for its content and for its size."""
        name = str(self.dataset.names[index])
        if self.read(index, name, self.dataset.labels[index]) is None:
            return
        height, width = self.sizes[-1]
        self.tiny += [name] * (min(height, width) < TINY_SIDE)
        self.gigantic += [name] * (height * width > GIGANTIC_PIXELS)

    def report(self) -> LabelledSplit:
        """Sums up."""
        counts = Counter(self.dataset.labels)
        per_class = {name: counts[label] for label, name in enumerate(self.dataset.classes)}
        return LabelledSplit(**self.basics(), per_class=per_class, tiny=tuple(self.tiny), gigantic=tuple(self.gigantic))


def _unreadable(splits: Sequence[LabelledSplit]) -> list[str]:
    broken = [skipped.name for split in splits for skipped in split.broken]
    if not broken:
        return []
    return [f"{count_of(len(broken), 'image')} cannot be read and would be skipped, first {broken[0]}."]


def _absent(split: LabelledSplit) -> list[str]:
    absent = [name for name, count in split.per_class.items() if not count]
    return listed(absent, f"without an image in {split.split}", "class", "classes")


def _notes(splits: Sequence[LabelledSplit]) -> list[str]:
    notes = []
    million = GIGANTIC_PIXELS // 1_000_000
    for split in splits:
        notes += listed(split.tiny, f"in {split.split} with a side under {TINY_SIDE} pixels")
        notes += listed(split.gigantic, f"in {split.split} with more than {million} million pixels, slow to decode")
    counts = splits[0].per_class
    few = [name for name, count in counts.items() if 0 < count < FEW_IMAGES]
    notes += listed(few, f"with fewer than {FEW_IMAGES} in train", "class", "classes")
    present = [count for count in counts.values() if count]
    if present and max(present) >= 10 * min(present):
        notes.append(
            f"Classes are of very different size in train ({min(present)} to {max(present)} images): read the mean "
            f"over classes beside the accuracy."
        )
    return notes
