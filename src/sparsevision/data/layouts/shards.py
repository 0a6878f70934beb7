"""Tar files in WebDataset's layout, read at random through an index of where each image lies."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from glob import escape, glob, has_magic
from pathlib import Path
from typing import Any

from sparsevision.data.caching import cached
from sparsevision.data.dataset import Dataset, Opening, Record, Split, check_split, fingerprint_of
from sparsevision.data.reading import decode_image, is_image_name, read_bytes
from sparsevision.data.subset import HEAD_BYTES, digest_of, held_out
from sparsevision.errors import DataError, MissingExtraError, UnreadableImageError

UNMARKED = False
_LABEL_KEYS = ("label", "cls", "class")
_SPLIT_NAMES = {"train": r"(^|[^a-z])train(ing)?([^a-z]|$)", "val": r"(^|[^a-z])val(id|idation)?([^a-z]|$)"}


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
    in `.json` under "label", "cls" or "class". Class names come from `classes.txt` (a line each, or `key<TAB>name`) or
    `classes.json` (a list, or number to name) beside the shards or one folder up; without, from the labels themselves.
    Shards whose names say train or val are the splits; without such names a stratified `val_fraction` is held out by
    the hash of the images' bytes and `seed`. Every shard is indexed once, from its headers, when it is opened.
    Raises DataError for everything that does not fit.
    """

    def __init__(
        self,
        pattern: str | os.PathLike[str],
        split: Split = "train",
        opening: Opening = Opening(),
    ) -> None:
        self.split, self.side = check_split(split), opening.side
        paths = shard_paths(pattern)
        by_split = _by_split(paths)
        if by_split and split != "all" and not by_split[split]:
            raise DataError(f"None of the shards {pattern} is for {split!r}: give shards whose names say {split!r}.")
        named = _named_classes(Path(paths[0]).parent)
        chosen = set(by_split[split]) if by_split and split != "all" else set(paths)
        # Without a list of classes all shards together say which there are, so that both splits agree.
        entries = [entry for path in paths if named is None or path in chosen for entry in _index(path)]
        self.classes, numbers = _numbered(named, entries)
        pairs = [(entry, number) for entry, number in zip(entries, numbers, strict=True) if entry.shard in chosen]
        self.origin = f"{pattern}, split {split!r} as the shards' names have it"
        if not by_split and split != "all":
            pairs = _held_out_part(pairs, split == "val", opening)
            share = f"{opening.val_fraction:.0%} of each class for validation, seed {opening.seed}"
            self.origin = f"{pattern}, split {split!r} of a stratified split by file hash ({share})"
        if not pairs:
            raise DataError(f"The split {split!r} of the shards {pattern} has no images.")
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

    def read(self, index: int) -> Record:
        """Decodes one image; raises UnreadableImageError."""
        entry = self._entries[index]
        name = f"{entry.shard}:{entry.name}"
        image, size = decode_image(self.content(index), name, side=self.side)
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


def open_split(spec: str, split: str, opening: Opening) -> Dataset:
    """Opens a split of tar shards; see `Shards`."""
    return cached(Shards(spec, check_split(split), opening), opening.cache)


def recognises(spec: str) -> bool:
    """Returns whether a data set's name means tar shards: a pattern, a tar file, or a folder of them."""
    # A folder's own name may hold what would be a pattern.
    if not os.path.isdir(spec) and (has_magic(spec) or "{" in spec):
        return True
    if re.search(r"\.(tar(\.\w+)?|tgz)$", spec):
        return True
    if not _tars_in(spec):
        return False
    # A tar file may lie beside the class folders that were unpacked from it.
    return all(glob(os.path.join(escape(folder), "*.tar")) for folder in glob(os.path.join(escape(spec), "*/")))


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
        if not path.endswith(".tar"):
            raise DataError(
                f"The shard {path} is not a .tar file: unpack compressed shards, which cannot be read at random."
            )
    return sorted(found)


def _tars_in(folder: str) -> list[str]:
    """Lists the tar files in a folder, or in the folders of its splits."""
    return sorted(path for inner in ("*.tar", "*/*.tar") for path in glob(os.path.join(folder, inner)))


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
    """Groups shards by the split that their name or folder says; {} where none says any."""
    groups: dict[str, list[str]] = {"train": [], "val": []}
    for path in paths:
        said = f"{Path(path).parent.name}/{Path(path).name}".lower()
        for split, expression in _SPLIT_NAMES.items():
            if re.search(expression, said):
                groups[split].append(path)
                break
    return groups if groups["val"] else {}


def _index(path: str) -> list[_Entry]:
    """Reads a shard's headers and labels; raises DataError naming what is wrong with it."""
    try:
        with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as shard:
            entries = list(_entries(path, shard))
            # tarfile takes a file that stops between two members for a whole one; the end is a block of zeros.
            file.seek(shard.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("it stops before its end")
            return entries
    except (tarfile.TarError, OSError, EOFError) as error:
        said = " ".join(str(error).split())
        raise DataError(f"The shard {path} is damaged or incomplete ({said}): make or copy it again.") from error


def _entries(path: str, shard: tarfile.TarFile) -> Iterator[_Entry]:
    key = ""
    members: dict[str, tarfile.TarInfo] = {}
    for member in shard:
        if not member.isfile():
            continue
        folder, _, base = member.name.rpartition("/")
        stem, _, extension = base.partition(".")
        if f"{folder}/{stem}" != key and members:
            yield _entry(path, shard, members)
            members = {}
        key = f"{folder}/{stem}"
        members[extension.lower()] = member
    if members:
        yield _entry(path, shard, members)


def _entry(path: str, shard: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> _Entry:
    images = [member for extension, member in members.items() if is_image_name(f"image.{extension}")]
    some = next(iter(members.values())).name
    if not images:
        raise DataError(f"The sample of {some} in the shard {path} has no image (.jpg, .png, .webp, ...): add it.")
    label = None
    if "cls" in members:
        text = _text(shard, members["cls"])
        label = int(text) if text.removeprefix("-").isdecimal() else text
    elif "json" in members:
        label = _json_label(_text(shard, members["json"]))
    if label is None or label == "":
        raise DataError(
            f"The sample of {some} in the shard {path} has no label: add a .cls member, or .json with 'label'."
        )
    image = images[0]
    return _Entry(path, image.name, image.offset_data, image.size, label)


def _text(shard: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = shard.extractfile(member)
    return "" if file is None else file.read(1 << 20).decode("utf-8", errors="replace").strip()


def _json_label(text: str) -> int | str | None:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        value = next((value[key] for key in _LABEL_KEYS if key in value), None)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _named_classes(folder: Path) -> dict[int | str, tuple[int, str]] | None:
    """Reads what labels may be, {number or key: (number, name)}, from the list of classes that lies with the shards."""
    for home in (folder, folder.parent):
        for file in (home / "classes.txt", home / "classes.json"):
            if file.is_file():
                pairs = _listed(file)
                named: dict[int | str, tuple[int, str]] = {}
                for number, (key, name) in enumerate(pairs):
                    named |= {number: (number, name), key: (number, name), name: (number, name)}
                return named
    return None


def _listed(file: Path) -> list[tuple[str, str]]:
    """Returns (key, name) of each class in order."""
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".txt":
            rows = [line.split("\t", 1) for line in text.splitlines() if line.strip()]
            return [(row[0].strip(), row[-1].strip()) for row in rows]
        value = json.loads(text)
        if isinstance(value, dict):
            value = [value[str(number)] for number in range(len(value))]
        return [(str(name), str(name)) for name in value]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"The list of classes {file} cannot be used: give a name a line, or as JSON a list or "
            f'{{"0": "first name", ...}}.'
        ) from error


def _numbered(
    named: dict[int | str, tuple[int, str]] | None, entries: Sequence[_Entry]
) -> tuple[tuple[str, ...], list[int]]:
    """Turns labels into numbers of classes; raises DataError for one that the classes do not have."""
    if named is not None:
        for entry in entries:
            if entry.label not in named:
                raise DataError(
                    f"{entry.shard}:{entry.name} has the label {entry.label!r}, which the list of classes beside the "
                    f"shards does not have: correct one of the two."
                )
        classes = tuple(name for _, name in sorted(set(named.values())))
        return classes, [named[entry.label][0] for entry in entries]
    labels = {entry.label for entry in entries}
    if all(isinstance(label, int) for label in labels):
        least, most = min(map(int, labels), default=0), max(map(int, labels), default=-1)
        if least < 0 or most > 1_000_000:
            raise DataError(
                f"A label of the shards is {least if least < 0 else most}: give 0, 1, 2, ... or class names."
            )
        return tuple(map(str, range(most + 1))), [int(entry.label) for entry in entries]
    order = {label: number for number, label in enumerate(sorted(map(str, labels)))}
    return tuple(order), [order[str(entry.label)] for entry in entries]


def _held_out_part(pairs: list[tuple[_Entry, int]], validation: bool, opening: Opening) -> list[tuple[_Entry, int]]:
    digests = [digest_of(_part(entry, min(entry.size, HEAD_BYTES)), entry.size) for entry, _ in pairs]
    held = held_out(digests, [label for _, label in pairs], opening.val_fraction, opening.seed)
    return [pair for pair, is_val in zip(pairs, held, strict=True) if is_val == validation]


def _part(entry: _Entry, length: int) -> bytes:
    with open(entry.shard, "rb") as file:
        file.seek(entry.offset)
        return file.read(length)
