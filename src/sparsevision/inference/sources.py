"""Images of a command line's sources: files, folders, patterns, a list on standard input."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from sparsevision.data.reading import is_image_name
from sparsevision.types import Skipped

STANDARD_INPUT = "-"


def find_images(sources: Iterable[str], listed: BinaryIO, missing: list[Skipped]) -> Iterator[str]:
    """Yields the paths of images one after another, in the order of the sources and sorted within each.

    Sources are files, folders (searched to any depth for files with an image's suffix), glob patterns ("**" goes deep),
    or "-" for the paths in `listed`, one a line, read as images are asked for. `missing` receives the sources without
    images, and the folders that cannot be listed.
    """
    for source in sources:
        if source == STANDARD_INPUT:
            yield from (str(Path(path)) for line in listed if (path := os.fsdecode(line.rstrip(b"\r\n"))))
            continue
        found = _in_folder(source, missing) if os.path.isdir(source) else _matching(source)
        first = next(found, None)
        if first is None:
            reason = "has no images in it" if os.path.isdir(source) else "matches no file"
            missing.append(Skipped(source, f"{source} {reason}."))
            continue
        yield first
        yield from found


def _in_folder(folder: str, missing: list[Skipped]) -> Iterator[str]:
    def unlisted(error: OSError) -> None:
        missing.append(Skipped(error.filename, f"{error.filename} cannot be listed ({error.strerror})."))

    for parent, folders, files in os.walk(folder, onerror=unlisted):
        # os.walk goes on with this very list, so sorting it in place makes the order the same everywhere.
        folders.sort()
        yield from (os.path.join(parent, name) for name in sorted(files) if is_image_name(name))


def _matching(source: str) -> Iterator[str]:
    # A file's own name may hold what would be a pattern.
    if os.path.lexists(source) or not glob.has_magic(source):
        yield source
        return
    for path in sorted(glob.iglob(os.path.expanduser(source), recursive=True)):
        if not os.path.isdir(path):
            yield path
