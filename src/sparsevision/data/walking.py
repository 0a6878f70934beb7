"""Folders searched for images: links are followed, and what no person put there is passed over and counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sparsevision.data.reading import is_image_name
from sparsevision.errors import DataError
from sparsevision.files import WHOLE, recorded_in
from sparsevision.wording import count_of

# Beside hidden folders: those of recycle bins, archives of other systems, and small copies of images.
_OF_SYSTEMS = frozenset(
    (
        "@eadir",
        "@recycle",
        "@recently-snapshot",
        "@tmp",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "recycler",
        "network trash folder",
        "temporary items",
        "lost+found",
        "found.000",
        "system volume information",
        "__macosx",
        "_vti_cnf",
        "__pycache__",
        "thumbnails",
        "thumbnail",
        "_thumbs",
    )
)
# Files of descriptions and of systems that lie beside images.
_OF_TEXT = frozenset((".txt", ".json", ".xml", ".csv", ".md", ".yaml", ".yml", ".db", ".ini", ".cache", ".html"))


def is_passed_over(name: str) -> bool:
    """Returns whether a folder is a hidden one, or one that a system made for itself."""
    return name.startswith(".") or name.casefold() in _OF_SYSTEMS


def entries_in(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    """Returns what lies in a folder, by name, without asking for more of it; nothing where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def walk(
    folder: str, refused: Callable[[OSError], None], passed: Callable[[str], None] = lambda folder: None, *,
    with_outputs: bool = False,
) -> Iterator[tuple[str, list[str]]]:  # fmt: skip
    """Yields every folder at any depth with the names of its files, sorted; each folder once, however it is linked.

    The outputs of this package's commands are left out, unless `with_outputs` is set. `refused` receives the errors of
    folders that cannot be listed, and `passed` the folders that are passed over.
    """
    # With those above it: a link that leads up would bring everything beside the folder into it.
    start = Path(os.path.realpath(folder))
    seen = {os.fspath(each) for each in (start, *start.parents)}
    for parent, folders, files in os.walk(folder, onerror=refused, followlinks=True):
        outputs = {} if with_outputs else recorded_in(parent)
        if WHOLE in outputs and parent != folder:
            folders.clear()
            continue
        kept = []
        for name in sorted(folders):
            path = os.path.join(parent, name)
            if is_passed_over(name):
                passed(path)
            elif (place := os.path.realpath(path)) not in seen:
                seen.add(place)
                kept.append(name)
        # os.walk goes on with this very list.
        folders[:] = kept
        yield parent, sorted(name for name in files if name not in outputs)


@dataclass(frozen=True)
class Walked:
    """The images under a folder, (path, bytes), or the files that `wanted` names, and what else lies there.

    `passed` counts them in hidden folders and in folders of systems, by the folder's name, and hidden images under
    ""; `unread` counts files of other formats by suffix, and `texts` those of descriptions.
    """

    images: list[tuple[str, int]] = field(default_factory=list)
    wanted: Callable[[str], bool] = is_image_name
    passed: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)

    def pass_over(self, folder: str) -> None:
        """Counts the images under a folder that is passed over."""
        files = (name for _, _, files in os.walk(folder) for name in files)
        self.passed[os.path.basename(folder)] += sum(map(self.wanted, files))

    def leave_out(self, name: str) -> None:
        """Counts a file that is not read."""
        if self.wanted(name):
            self.passed[""] += 1
        elif not name.startswith("."):
            suffix = os.path.splitext(name)[1]
            if suffix.lower() in _OF_TEXT:
                self.texts[suffix.lower()] += 1
            else:
                self.unread[suffix] += 1


def walk_images(folder: str, *, with_outputs: bool = False, wanted: Callable[[str], bool] = is_image_name) -> Walked:
    """Lists the images under a folder, or the files whose names are `wanted`, sorted by path.

    Raises DataError where a folder cannot be listed.
    """
    found = Walked(wanted=wanted)
    for parent, files in walk(folder, _refuse, found.pass_over, with_outputs=with_outputs):
        for name in files:
            if wanted(name) and not name.startswith("."):
                path = os.path.join(parent, name)
                found.images.append((path, os.stat(path).st_size if os.path.exists(path) else 0))
            else:
                found.leave_out(name)
    found.images.sort()
    return found


def notes_on(walked: Sequence[Walked], thing: str = "image") -> list[str]:
    """Returns a sentence about the images that were passed over, and one about files of formats that are not read."""
    notes = []
    passed = sum((each.passed for each in walked), Counter[str]())
    if total := passed.total():
        names = ", ".join(sorted(name for name in passed if name and passed[name])) or "hidden files"
        notes.append(f"Not read: {count_of(total, thing)} in hidden folders, or in those of systems ({names}).")
    unread = sum((each.unread for each in walked), Counter[str]())
    if total := unread.total():
        kinds = ", ".join(f"{suffix or 'no suffix'} {number:,}" for suffix, number in unread.most_common(8))
        notes.append(f"Not read: {count_of(total, 'file')} beside the {thing}s, by their suffix ({kinds}).")
    return notes


def _refuse(error: OSError) -> None:
    # A folder whose images cannot be listed would be left out without a word.
    if not isinstance(error, FileNotFoundError):
        raise DataError(f"The folder {error.filename} cannot be listed: {error.strerror}.") from error
