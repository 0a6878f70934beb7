"""Tar files in WebDataset's layout, read at random through an index of where each image lies."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from glob import escape, glob, has_magic
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Self

from sparsevision.data.dataset import Dataset, Opening, Record, fingerprint_of
from sparsevision.data.file_kinds import IMAGES, VIDEOS, FileKind
from sparsevision.data.layouts.label_names import is_number, named_classes, numbered
from sparsevision.data.reading import read_bytes
from sparsevision.data.splitting import split_of_file, split_of_folder
from sparsevision.data.subset import HEAD_BYTES, digest_of
from sparsevision.data.texts import composed, decoded
from sparsevision.errors import DataError, MissingExtraError, UnreadableImageError

UNMARKED = False
_LABEL_KEYS = ("label", "cls", "class")
_NOT_IMAGES = {"mask", "masks", "depth", "seg", "segmentation", "label", "labels", "annotation", "normal", "edges"}
_ORDER = ("train", "val", "test")
_TAR = "*.[tT][aA][rR]"
_LOOKED_AT = 16  # members of a shard that tell what it holds


@dataclass(frozen=True)
class _Entry:
    """The place of an image in a shard, and its label."""

    shard: str
    name: str
    offset: int
    size: int
    label: int | str


class Shards:
    """Images in uncompressed tar files; a `Dataset`.

    `pattern` is a path, a glob or has braces, `shards/train-{000..146}.tar`; or a folder of tar files. Members that
    share their name up to the first dot are one sample: an image, and a label in `.cls` (a number or a class name) or
    in `.json` under "label", "cls" or "class". Of several images the one without further words in its name is taken, as
    `0.jpg` beside `0.depth.png`. Class names come from `classes.txt` (a line each, or `key<TAB>name`) or `classes.json`
    (a list, or number to name) beside the shards or one folder up; without, from the labels themselves. The split of a
    shard is told by its own name, or else by its folder's; `split` is one of them, None for all shards.
    Every shard is indexed once, from its headers, when it is opened.
    Raises DataError for everything that does not fit.
    """

    kind: ClassVar[FileKind] = IMAGES

    def __init__(self, pattern: str | os.PathLike[str], split: str | None = None, *, side: int | None = None) -> None:
        self.side = side
        by_split = _by_split(shard_paths(pattern))
        paths = [path for group in by_split.values() for path in group]
        chosen = set(paths if split is None else by_split.get(split, ()))
        named = named_classes(Path(paths[0]).parent)
        # Without a list of classes all shards together tell which there are, so that the splits agree.
        entries = [entry for path in paths if named is None or path in chosen for entry in _index(path, self.kind)]
        names = [f"{entry.shard}:{entry.name}" for entry in entries]
        self.classes, numbers = numbered(named, [entry.label for entry in entries], names, "the shards")
        pairs = [(entry, number) for entry, number in zip(entries, numbers, strict=True) if entry.shard in chosen]
        self.origin = f"{pattern}" if split is None else f"{pattern}, split {split!r} as the shards' names have it"
        if not pairs:
            raise DataError(f"The split {split!r} of the shards {pattern} has no {self.kind.things}.")
        self._entries = [entry for entry, _ in pairs]
        self.labels = [number for _, number in pairs]

    def __len__(self) -> int:
        return len(self._entries)

    @cached_property
    def names(self) -> list[str]:
        """The shard and the member of every image."""
        return [f"{entry.shard}:{entry.name}" for entry in self._entries]

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the classes, and with the name, size or label of any image."""
        rows = ((entry.name, label, entry.size) for entry, label in zip(self._entries, self.labels, strict=True))
        return fingerprint_of(self.classes, rows)

    @property
    def files(self) -> list[str]:
        """The files that images are read from."""
        return sorted({entry.shard for entry in self._entries})

    def read(self, index: int) -> Record:
        """Decodes one image; raises UnreadableImageError."""
        entry = self._entries[index]
        name = f"{entry.shard}:{entry.name}"
        image, size = self.kind.open(self.content(index), name, self.side)
        return Record(image, self.labels[index], name, original_size=size)

    def content(self, index: int) -> bytes:
        """The bytes of the image's file; raises UnreadableImageError."""
        entry = self._entries[index]
        name = f"{entry.shard}:{entry.name}"
        try:
            data = _part(entry, entry.size)
        except OSError as error:
            raise UnreadableImageError(f"{name} cannot be read: {error.strerror}.") from error
        return read_bytes(data, name)

    def digest(self, index: int) -> bytes:
        """Identifies an image by the beginning of its file and its size."""
        entry = self._entries[index]
        return digest_of(_part(entry, min(entry.size, HEAD_BYTES)), entry.size)

    def part(self, indices: Sequence[int], origin: str) -> Self:
        """Returns the data set of some of the images."""
        chosen = copy(self)
        for name in ("names", "fingerprint"):
            chosen.__dict__.pop(name, None)
        chosen._entries = [self._entries[index] for index in indices]
        chosen.labels, chosen.origin = [self.labels[index] for index in indices], origin
        return chosen


def splits(spec: str) -> tuple[str, ...]:
    """Returns the splits that names of shards tell."""
    return tuple(split for split in _by_split(shard_paths(spec)) if split)


def open_split(spec: str, split: str | None, opening: Opening) -> Dataset:
    """Opens the shards of a split, or all of them; see `Shards`."""
    return Shards(spec, split, side=opening.side)


def recognises(spec: str) -> bool:
    """Returns whether a data set's name means tar shards: a pattern, a tar file, or a folder of them; not of videos."""
    return means_shards(spec) and not begins_with(spec, VIDEOS)


def begins_with(spec: str, kind: FileKind) -> bool:
    """Returns whether the first members of the first shard have files of a kind."""
    try:
        with tarfile.open(shard_paths(spec)[0], mode="r:") as shard:
            return any(kind.wanted(member.name) for member in islice(shard, _LOOKED_AT))
    except (DataError, OSError, tarfile.TarError, EOFError):
        return False


def means_shards(spec: str) -> bool:
    """Returns whether a name is a pattern, a tar file, or a folder of them."""
    # A folder's own name may hold what would be a pattern.
    if not os.path.isdir(spec) and (has_magic(spec) or "{" in spec):
        return True
    if re.search(r"\.(tar(\.\w+)?|tgz)$", spec, re.IGNORECASE):
        return True
    if not _tars_in(spec):
        return False
    # A tar file may lie beside the class folders that were unpacked from it.
    return all(glob(os.path.join(escape(folder), _TAR)) for folder in glob(os.path.join(escape(spec), "*/")))


def shard_paths(pattern: str | os.PathLike[str]) -> list[str]:
    """Lists the tar files that a pattern with globs and braces, or a folder, means; sorted, each once."""
    pattern = os.fspath(pattern)
    if os.path.isdir(pattern):
        if not (inside := _tars_in(pattern)):
            raise DataError(f"The folder {pattern} has no .tar files in it: give shards, or a folder of class folders.")
        return inside
    found: set[str] = set()
    for part in _expanded(pattern):
        matches = glob(part, recursive=True) if has_magic(part) else [part] if os.path.exists(part) else []
        if not matches:
            raise DataError(f"The shard {part}, which {pattern!r} asks for, does not exist: correct the pattern.")
        found.update(matches)
    for path in found:
        if not path.lower().endswith(".tar"):
            raise DataError(
                f"The shard {path} is not a .tar file: unpack compressed shards, which cannot be read at random."
            )
    return sorted(found)


def _tars_in(folder: str) -> list[str]:
    """Lists the tar files in a folder, or in the folders of its splits."""
    return sorted(path for inner in (_TAR, f"*/{_TAR}") for path in glob(os.path.join(escape(folder), inner)))


def _expanded(pattern: str) -> list[str]:
    if "{" not in pattern:
        return [pattern]
    try:
        from braceexpand import braceexpand
    except ImportError:
        raise MissingExtraError("webdataset", "A shard pattern with braces") from None
    try:
        return list(braceexpand(pattern))
    except ValueError:
        raise DataError(
            f"The braces of the shard pattern {pattern!r} do not close: write name-{{000..009}}.tar."
        ) from None


def _by_split(paths: Sequence[str]) -> dict[str, list[str]]:
    """Groups shards by the split that their names tell, train first, or else their folders' names; "" where none does.

    Raises DataError where only some of them tell one.
    """
    told = [split_of_file(Path(path).stem) for path in paths]
    if not any(told):
        folders = [Path(path).parent.name for path in paths]
        whole = [split_of_folder(folder) for folder in folders]
        told = whole if any(whole) else [split_of_file(folder) for folder in folders]
        # One folder for all shards does not divide them: it may be the whole data set's.
        told = told if len(set(told)) > 1 else [None] * len(paths)
    groups = {split: [path for path, name in zip(paths, told, strict=True) if name == split] for split in _ORDER}
    if rest := [path for path, name in zip(paths, told, strict=True) if name is None]:
        if any(told):
            split = next(name for name in told if name)
            raise DataError(
                f"The name of the shard {rest[0]} tells no split, as others do ({split!r}): rename it, or give a "
                "pattern without it."
            )
        return {"": rest}
    return {split: group for split, group in groups.items() if group}


def _index(path: str, kind: FileKind) -> list[_Entry]:
    """Reads a shard's headers and labels; raises DataError naming what is wrong with it."""
    try:
        with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as shard:
            entries = list(_entries(path, shard, kind))
            # tarfile takes a file that stops between two members for a whole one; the end is a block of zeros.
            file.seek(shard.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("it stops before its end")
            return entries
    except (tarfile.TarError, OSError, EOFError) as error:
        said = " ".join(str(error).split())
        raise DataError(f"The shard {path} is damaged or incomplete ({said}): make or copy it again.") from error


def _entries(path: str, shard: tarfile.TarFile, kind: FileKind) -> Iterator[_Entry]:
    key = ""
    members: dict[str, tarfile.TarInfo] = {}
    seen: set[str] = set()
    for member in shard:
        folder, _, base = member.name.rpartition("/")
        if not member.isfile() or base.startswith("."):
            continue
        stem, _, extension = base.partition(".")
        if f"{folder}/{stem}" != key:
            if members:
                yield _entry(path, shard, members, kind)
            key, members = f"{folder}/{stem}", {}
            if key in seen:
                raise DataError(f"The shard {path} has two samples named {key.lstrip('/')!r}: rename one.")
            seen.add(key)
        if extension.lower() in members:
            raise DataError(f"The shard {path} has two members named {member.name!r}: rename one.")
        members[extension.lower()] = member
    if members:
        yield _entry(path, shard, members, kind)


def _entry(path: str, shard: tarfile.TarFile, members: dict[str, tarfile.TarInfo], kind: FileKind) -> _Entry:
    some = next(iter(members.values())).name
    told = _json_label(_text(path, shard, members["json"])) if "json" in members else None
    label: int | str | None = composed(_text(path, shard, members["cls"])) if "cls" in members else told
    if told is not None and label is not None and label != told and is_number(label) == is_number(told):
        raise DataError(
            f"The sample of {some} in the shard {path} has the label {str(label)[:80]!r} in .cls and "
            f"{str(told)[:80]!r} in .json: correct one of the two."
        )
    if label is None or label == "":
        raise DataError(
            f"The sample of {some} in the shard {path} has no label: add a .cls member, or .json with 'label'."
        )
    file = _file_of(path, some, members, kind)
    return _Entry(path, file.name, file.offset_data, file.size, label)


def _file_of(path: str, some: str, members: dict[str, tarfile.TarInfo], kind: FileKind) -> tarfile.TarInfo:
    """Returns the image of a sample: "0.jpg", not "0.depth.png" beside it; raises DataError where that is not one."""
    found = [extension for extension in members if kind.wanted(f"file.{extension}")]
    plain = [extension for extension in found if "." not in extension]
    # Without a plain one, an image with a further word, but not what is drawn beside images.
    plain = plain or [extension for extension in found if not _NOT_IMAGES & {*extension.split(".")}]
    if not plain:
        raise DataError(f"The sample of {some} in the shard {path} has no {kind.thing} ({kind.examples}, ...): add it.")
    if len(plain) > 1:
        raise DataError(
            f"The sample of {some} in the shard {path} has {len(plain)} {kind.things} (.{', .'.join(plain)}), and "
            "which one is meant is not known: leave one, or give the others a further word in their names, as in "
            "0.mask.png."
        )
    return members[plain[0]]


def _text(path: str, shard: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = shard.extractfile(member)
    return "" if file is None else decoded(file.read(1 << 20), f"{path}:{member.name}").strip()


def _json_label(text: str) -> int | str | None:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        value = next((value[key] for key in _LABEL_KEYS if key in value), None)
    if isinstance(value, str):
        return composed(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _part(entry: _Entry, length: int) -> bytes:
    with open(entry.shard, "rb") as file:
        file.seek(entry.offset)
        return file.read(length)
