"""One rule for the splits of all layouts: by their names on disk, and a held-out part of train where there is no val.

"train", "val" and "test" are what is called so on disk, in any of the usual spellings. Where nothing is called val, a
stratified share of train (of everything, where nothing is called train either) is held out by the hash of the images'
bytes. "all" is everything.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, Protocol, cast

from sparsevision.data.caching import cached
from sparsevision.data.dataset import Dataset, Opening, Record, check_split
from sparsevision.data.subset import Subset, held_out
from sparsevision.data.texts import composed
from sparsevision.errors import DataError, UnreadableImageError

_WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev", "development"),
    "test": ("test", "testing", "tst"),
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}
# Of "training_set" or "valImages": words that tell nothing.
_EMPTY_WORDS = ("set", "sets", "data", "dataset", "images", "image", "imgs", "img", "split", "part")


class Source(Protocol):
    """The part of a layout that is needed here; see `DataLayout`."""

    def splits(self, spec: str) -> tuple[str, ...]:
        """Returns the splits that are called so on disk, none where the data set is not divided."""

    def open_split(self, spec: str, split: str | None, opening: Opening) -> Dataset:
        """Opens what is called so on disk, or everything for None."""


def split_of_folder(name: str) -> str | None:
    """Returns the split that a folder's whole name means: "Train", "training_set" and "train2017" are "train"."""
    words = [word for word in _words(name) if word not in _EMPTY_WORDS]
    return _SPLIT_OF.get(words[0]) if len(words) == 1 else None


def split_of_file(name: str) -> str | None:
    """Returns the split that a word of a file's name tells; raises DataError where words tell two."""
    found = {_SPLIT_OF[word] for word in _words(name) if word in _SPLIT_OF}
    if len(found) > 1:
        raise DataError(f"The name {name!r} tells two splits, {' and '.join(sorted(found))}: rename the file.")
    return next(iter(found), None)


def split_and_rest(name: str) -> list[tuple[str, str]]:
    """Returns the split that each word of a name may mean, with the other words: ("train", "seg") of "seg_train"."""
    words = _words(name)
    places = [place for place, word in enumerate(words) if word in _SPLIT_OF]
    return [(_SPLIT_OF[words[place]], " ".join(words[:place] + words[place + 1 :])) for place in places]


def _words(name: str) -> list[str]:
    """Divides a name into its words, without case, a word that tells nothing being cut off another one's end."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", composed(name))
    words = re.findall(r"[^\W\d_]+", spaced.casefold())
    return [part for word in words for part in _parts(word)]


def _parts(word: str) -> list[str]:
    ends = (word.removesuffix(end) for end in _EMPTY_WORDS)
    return [next((rest for rest in ends if rest in _SPLIT_OF), word)]


def splits_of(layout: Source, spec: str) -> tuple[str, ...]:
    """Returns the splits that can be opened: train and val, and test where something is called so."""
    named = layout.splits(spec)
    return ("train", "val", *(("test",) if "test" in named else ()))


def open_part(layout: Source, spec: str, split: str, opening: Opening) -> Dataset:
    """Opens a split of a data set by the rule of this module, with the cache that is asked for.

    Raises DataError for a split that does not exist, or has no images.
    """
    found = _opened(layout, spec, check_split(split), opening)
    # What is drawn and not read from files is drawn again.
    return cached(found, opening.cache) if hasattr(found, "digest") else found


def _opened(layout: Source, spec: str, split: str, opening: Opening) -> Dataset:
    named = layout.splits(spec)
    if split in named and (split != "train" or "val" in named):
        return layout.open_split(spec, split, opening)
    if split == "all":
        parts = [layout.open_split(spec, name, opening) for name in named or [None]]
        return parts[0] if len(parts) == 1 else Joined(parts, f"{spec}, its splits {', '.join(named)}")
    if split == "test":
        there = f"only {', '.join(named)}" if named else "it is not divided"
        raise DataError(f"{spec} has no split 'test' ({there}): name another one.")
    if named and "train" not in named:
        raise DataError(f"{spec} has images called {' and '.join(named)} but none called train: add them.")
    return _part(layout.open_split(spec, "train" if named else None, opening), spec, split, opening)


def _part(whole: Dataset, spec: str, split: str, opening: Opening) -> Dataset:
    """Returns what is held out of a data set, or the rest."""
    digests = [_digest(whole, index) for index in range(len(whole))]
    held = held_out(digests, whole.labels, opening.val_fraction, opening.seed)
    kept = [index for index, is_val in enumerate(held) if is_val == (split == "val")]
    origin = (
        f"{spec}, split {split!r} of a stratified split by file hash "
        f"({opening.val_fraction:.0%} of each class for validation, seed {opening.seed})"
    )
    if not kept:
        raise DataError(f"The split {split!r} of {spec} has no images: put some in or choose another split.")
    part: Callable[..., Dataset] | None = getattr(whole, "part", None)
    return Subset(whole, kept, origin=origin) if part is None else part(kept, origin)


def _digest(dataset: Any, index: int) -> bytes:
    """Identifies an image by its file, without reading all of it where the layout can."""
    if (own := getattr(dataset, "digest", None)) is not None:
        return cast(bytes, own(index))
    try:
        return hashlib.blake2b(dataset.content(index), digest_size=16).digest()
    except UnreadableImageError:
        return hashlib.blake2b(str(dataset.names[index]).encode(errors="surrogateescape"), digest_size=16).digest()


class Joined:
    """Several data sets of the same classes, one after another; a `Dataset`."""

    def __init__(self, parts: Sequence[Dataset], origin: str) -> None:
        if len({part.classes for part in parts}) > 1:
            raise DataError(f"The classes of {origin} differ: score its splits one by one.")
        self.parts, self.origin, self.classes = parts, origin, parts[0].classes
        self.names: list[str] = _chained(part.names for part in parts)
        self.labels: list[int] = _chained(part.labels for part in parts)
        self.fingerprint = "-".join(part.fingerprint for part in parts)
        self._ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1]

    def read(self, index: int) -> Record:
        """Decodes one image; raises UnreadableImageError."""
        part, place = self._place(index)
        return part.read(place)

    def content(self, index: int) -> bytes:
        """Returns the bytes of the image's file."""
        part, place = self._place(index)
        return part.content(place)

    def _place(self, index: int) -> tuple[Dataset, int]:
        number = next(number for number, end in enumerate(self._ends) if index < end)
        return self.parts[number], index - (self._ends[number - 1] if number else 0)


def _chained(lists: Iterable[Sequence[Any]]) -> list[Any]:
    return [item for each in lists for item in each]
