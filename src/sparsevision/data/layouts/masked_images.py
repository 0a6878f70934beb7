"""Images with a mask of their pixels' classes each: what all layouts for segmentation have in common."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from sparsevision.data.dataset import Dataset, Opening, Record, fingerprint_of
from sparsevision.data.layouts.labelled_files import file_digest
from sparsevision.data.masks import IGNORED, MaskCoding, read_mask
from sparsevision.data.reading import decode_image, decode_stored, read_bytes
from sparsevision.data.texts import read_text
from sparsevision.data.walking import entries_in, notes_on, walk_images
from sparsevision.errors import DataError, UnreadableImageError
from sparsevision.wording import count_of

_PROBED = 8
# What programs add to the name of an image for that of its mask.
_ADDED = re.compile(r"[._-](mask|masks|label|labels|labelids|seg|segmentation|gt|l)$", re.IGNORECASE)
_SPLITS = ("train", "val", "test")


class Home(NamedTuple):
    """The folders of a split's images and masks, and the list of those that belong to it; None for all."""

    images: Path
    masks: Path
    chosen: Path | None = None


Homes = dict[str | None, Home]


def plain_key(path: Path) -> str:
    """Returns a path without its suffix: an image and its mask have the same one."""
    return path.with_suffix("").as_posix()


class MaskedImages:
    """Images of one split with their masks; a `Dataset` whose targets are masks (H, W), uint8.

    The values of a mask are classes, 255 for pixels that do not count. `image_key` and `mask_key` turn the path of a
    file, relative to its folder, into what an image and its mask have in common; None is a file of another kind.
    `layout` says in a word how the data set lies on disk, and `notes` in sentences what is not read.
    Raises DataError, one sentence, for what is not such a data set.
    """

    layout = "masks"

    def __init__(
        self, root: Path, homes: Homes, split: str | None, classes: Sequence[str], coding: MaskCoding, *,
        side: int | None = None, image_key: Callable[[Path], str | None] = plain_key,
        mask_key: Callable[[Path], str | None] = plain_key,
    ) -> None:  # fmt: skip
        if split not in homes:
            raise DataError(f"{root} has no images with masks for the split {split!r}.")
        home = homes[split]
        self.classes, self.side, self._coding = tuple(classes), side, coding
        walked = walk_images(os.fspath(home.images))
        images = _keyed(home.images, [Path(path) for path, _ in walked.images], image_key)
        masks = _keyed(home.masks, _masks_in(home), lambda path: _own_key(mask_key(path), images))
        chosen, notes = (list(images), []) if home.chosen is None else _listed(home.chosen, images)
        found = [key for key in chosen if key in masks]
        if not found:
            first = f", first {images[chosen[0]]}" if chosen else ""
            raise DataError(
                f"None of the {len(chosen):,} images in {home.images} has a mask of its name in {home.masks}{first}."
            )
        self._paths, self._masks = [images[key] for key in found], [masks[key] for key in found]
        self.names = [os.path.relpath(path, root) for path in self._paths]
        self.labels = [-1] * len(found)
        self.notes = [*notes_on([walked]), *notes]
        if without := [images[key] for key in chosen if key not in masks]:
            self.notes.append(f"Not read: {count_of(len(without), 'image')} without a mask, first {without[0]}.")
        if home.chosen is None and (others := sorted(masks.keys() - images.keys())):
            what = f"{count_of(len(others), 'mask')} without an image, first {masks[others[0]]}"
            self.notes.append(f"Not read: {what}.")
        self.origin = f"{root}, {f'split {split!r}' if split else 'undivided'}, masks from {home.masks.name}"
        self._refuse_binary()

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the classes, the paths of the images, and the size of any mask in bytes."""
        sizes = (mask.stat().st_size if mask.exists() else 0 for mask in self._masks)
        return fingerprint_of(self.classes, zip(self.names, sizes, strict=True))

    @property
    def files(self) -> list[str]:
        """The files that images and masks are read from."""
        return list(map(os.fspath, (*self._paths, *self._masks)))

    def path(self, index: int) -> Path:
        """Returns where an image lies."""
        return self._paths[index]

    def read(self, index: int) -> Record:
        """Decodes one image and its mask; raises UnreadableImageError."""
        path = os.fspath(self._paths[index])
        image, size = decode_image(path, side=self.side)
        return Record(image, read_mask(self._masks[index], size, self._coding), path, original_size=size)

    def content(self, index: int) -> bytes:
        """The bytes of the image's file; raises UnreadableImageError."""
        return read_bytes(os.fspath(self._paths[index]))

    def digest(self, index: int) -> bytes:
        """Identifies an image by the beginning of its file and its size."""
        path = os.fspath(self._paths[index])
        return file_digest(path, os.path.getsize(path) if os.path.exists(path) else 0)

    def part(self, indices: Sequence[int], origin: str) -> Self:
        """Returns the data set of some of the images."""
        chosen = copy(self)
        chosen.__dict__.pop("fingerprint", None)
        for name in ("names", "labels", "_paths", "_masks"):
            setattr(chosen, name, [getattr(self, name)[index] for index in indices])
        chosen.origin = origin
        return chosen

    def _refuse_binary(self) -> None:
        """Refuses masks of 0 and 255 alone, which mean two classes, where 255 is what does not count."""
        coding = self._coding
        if len(self.classes) < 2 or coding.lists_void or not coding.by_index or coding.indices[IGNORED] != IGNORED:
            return
        step = max(1, len(self._masks) // _PROBED)
        found: set[int] = set()
        for path in self._masks[::step]:
            with suppress(UnreadableImageError):
                image, _ = decode_stored(path, "mask")
                found |= set(np.unique(np.asarray(image)).tolist()) if image.mode in ("L", "P") else {1}
        if found == {0, IGNORED}:
            raise DataError(
                f"The masks in {self._masks[0].parent} have the values 0 and 255 alone, and 255 is that of pixels that "
                f"do not count: write lines of an index, a tab and a name into classes.txt, 0 for {self.classes[0]!r} "
                f"and 255 for {self.classes[1]!r} (or for void)."
            )


def _masks_in(home: Home) -> list[Path]:
    # Not as images are listed, where what `predict` wrote is left out: such masks are corrected and trained on.
    return [Path(path) for path, _ in walk_images(os.fspath(home.masks), with_outputs=True).images]


def _own_key(key: str | None, images: Mapping[str, Path]) -> str | None:
    """Returns the key of a mask without what a program has added to its image's."""
    return key if key is None or key in images else _ADDED.sub("", key)


def _keyed(folder: Path, paths: Sequence[Path], key: Callable[[Path], str | None]) -> dict[str, Path]:
    """Returns the files by their keys; raises DataError where two have the same."""
    found: dict[str, Path] = {}
    for path in paths:
        name = key(path.relative_to(folder))
        if name is not None and found.setdefault(name, path) is not path:
            raise DataError(f"{found[name]} and {path} have the same name but for their endings: leave one of them.")
    return found


def _listed(chosen: Path, images: Mapping[str, Path]) -> tuple[list[str], list[str]]:
    """Returns the keys of the images that a list names, each once, and a note on those that it names again.

    A line is a name with or without suffix and folder, alone or before a blank.
    """
    lines = [line.strip().replace("\\", "/") for line in read_text(chosen).splitlines() if line.strip()]
    by_name: dict[str, list[str]] = {}
    for key in images:
        by_name.setdefault(Path(key).name, []).append(key)
    keys = [_key_of(line, images, by_name, chosen) for line in lines]
    missing = [line for line, key in zip(lines, keys, strict=True) if key is None]
    if missing or not lines:
        lost = count_of(len(missing), "image that is", "images that are")
        what = f"{lost} not there, first {missing[0][:80]!r}" if missing else "no images"
        raise DataError(f"{chosen} lists {what}.")
    found = list(dict.fromkeys(key for key in keys if key is not None))
    twice = len(keys) - len(found)
    what = count_of(twice, "line that names", "lines that name")
    return found, [f"Not read: {what} an image of {chosen.name} again."] if twice else []


def _key_of(
    line: str, images: Mapping[str, Path], by_name: Mapping[str, Sequence[str]], chosen: Path
) -> str | None:  # fmt: skip
    for word in dict.fromkeys((line, line.split()[0])):
        whole = next((key for key in (word, plain_key(Path(word))) if key in images), None)
        if whole is not None:
            return whole
        for name in (Path(word).name, Path(word).stem):
            if len(keys := by_name.get(name, ())) > 1:
                raise DataError(
                    f"{chosen} lists {word[:80]!r}, which is {images[keys[0]]} or {images[keys[1]]}: write its folder."
                )
            if keys:
                return keys[0]
    return None


def folders_in(folder: Path) -> dict[str, Path]:
    """Returns the folders in a folder by their names without case."""
    return {entry.name.casefold(): Path(entry.path) for entry in entries_in(folder) if entry.is_dir()}


def layout_functions(
    homes_of: Callable[[Path], Homes], kind: Callable[..., Dataset]
) -> tuple[Callable[[str], bool], Callable[[str], tuple[str, ...]], Callable[[str, str | None, Opening], Dataset]]:
    """Returns `recognises`, `splits` and `open_split` of a layout (see `registry.DataLayout`).

    `homes_of` finds the folders of the splits in a data set's folder, and `kind(root, split, side=...)` is the data set
    of one of them.
    """

    def recognises(spec: str) -> bool:
        return bool(homes_of(Path(spec)))

    def splits(spec: str) -> tuple[str, ...]:
        return tuple(split for split in homes_of(Path(spec)) if split)

    def open_split(spec: str, split: str | None, opening: Opening) -> Dataset:
        return kind(Path(spec), split, side=opening.side)

    return recognises, splits, open_split


def ordered(homes: Homes) -> Homes:
    """Returns the homes in the order of the splits, the undivided one last."""
    return {split: homes[split] for split in (*_SPLITS, None) if split in homes}


def split_lists(root: Path, *folders: str) -> dict[str, Path]:
    """Returns the text files that list the images of a split, by the split: train.txt, val.txt, test.txt."""
    found: dict[str, Path] = {}
    for folder in (root, *(root / name for name in folders)):
        for split in _SPLITS:
            if (path := folder / f"{split}.txt").is_file():
                found.setdefault(split, path)
    return found
