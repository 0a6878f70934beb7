"""Images of a command line's sources: files, folders, patterns, a list on standard input."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from sparsevision.data.reading import is_image_name
from sparsevision.data.videos import is_video_name
from sparsevision.data.walking import Walked, notes_on, walk
from sparsevision.files import names_of, recorded_in
from sparsevision.inference.video import is_camera, is_stream
from sparsevision.types import Skipped
from sparsevision.wording import count_of

STANDARD_INPUT = "-"


def find_images(
    sources: Iterable[str], listed: BinaryIO, missing: list[Skipped], *, videos: bool = False
) -> Iterator[str]:
    """Yields the paths of images one after another, in the order of the sources and sorted within each.

    Sources are files, folders (searched to any depth for files with an image's suffix), glob patterns ("**" goes deep),
    or "-" for the paths in `listed`, one a line, read as images are asked for. Hidden files and folders, those of
    systems, and what the commands of this package wrote are not searched for. With `videos`, folders are searched for
    videos instead. `missing` receives the sources without
    images, the folders that cannot be listed, and a sentence about what else lies in folders and is not read.
    """
    for source in sources:
        if source == STANDARD_INPUT:
            yield from _listed(listed, missing)
            continue
        if (hint := _hint(source)) is not None:
            missing.append(Skipped(source, hint))
            continue
        found = _in_folder(source, missing, videos=videos) if os.path.isdir(source) else _matching(source)
        first = next(found, None)
        if first is None:
            reason = f"has no {'videos' if videos else 'images'} in it" if os.path.isdir(source) else "matches no file"
            missing.append(Skipped(source, f"{source} {reason}."))
            continue
        yield first
        yield from found


def _listed(lines: BinaryIO, missing: list[Skipped]) -> Iterator[str]:
    for line in lines:
        path = os.fsdecode(line.rstrip(b"\r\n"))
        if (hint := _hint(path)) is not None:
            missing.append(Skipped(path, hint))
        elif path:
            # An address has two slashes that a path would lose.
            yield path if is_stream(path) else str(Path(path))


def _hint(source: str) -> str | None:
    """Returns a sentence about a source that cannot be meant as it is given."""
    if device := re.fullmatch(r"/dev/video(\d+)", source):
        return f"{source} is a camera: write camera:{device[1]} for it."
    if os.path.lexists(source) or is_stream(source):
        return None
    if is_camera(source):
        number = source.partition(":")[2]
        # Windows knows its cameras by names.
        wrong = not (number if sys.platform == "win32" else number.isdecimal())
        return f"{source} is not a camera: a camera is a number, as in camera:0." if wrong else None
    if source.isdecimal():
        return f"{source} is not a file: write camera:{source} for a camera."
    if source.lower() in ("camera", "webcam"):
        return f"{source} is not a file: a camera is a number, as in camera:0."
    if re.match(r"[a-z][a-z0-9+.-]+://|(https?|ftp|file|s3|gs):/|data:", source, re.IGNORECASE):
        return f"{source} is an address, which is not fetched: download it and give the file."
    return None


def _in_folder(folder: str, missing: list[Skipped], *, videos: bool = False) -> Iterator[str]:
    def unlisted(error: OSError) -> None:
        missing.append(Skipped(error.filename, f"{error.filename} cannot be listed ({error.strerror})."))

    wanted, other, others = is_image_name, is_video_name, 0
    if videos:
        wanted, other = other, wanted
    left = Walked(wanted=wanted)
    for parent, files in walk(folder, unlisted, left.pass_over):
        for name in files:
            if wanted(name) and not name.startswith("."):
                yield os.path.join(parent, name)
            elif other(name) and not name.startswith("."):
                others += 1
            else:
                left.leave_out(name)
    notes = notes_on([left], "video" if videos else "image")
    if others and videos:
        notes.insert(0, f"Not read by a model of videos: {count_of(others, 'image')}.")
    elif others:
        notes.insert(0, f"Not read as part of a folder: {count_of(others, 'video')}; name each one to read it.")
    missing += [Skipped(folder, f"In {folder}: {note}") for note in notes]


def _matching(source: str) -> Iterator[str]:
    # A file's own name may hold what would be a pattern.
    if os.path.lexists(source) or not glob.has_magic(source):
        yield source
        return
    outputs = cache(recorded_in)
    for path in sorted(glob.iglob(os.path.expanduser(source), recursive=True)):
        folder, name = os.path.split(path)
        if not os.path.isdir(path) and name not in outputs(folder):
            yield path


def inputs_in(folder: Path, sources: Iterable[str]) -> set[str]:
    """Returns the names of the files of a folder that are sources, or that `find_images` finds, by whatever link.

    The list on standard input is not known beforehand: with it, all files of the folder are among them.
    """
    if not folder.is_dir():
        return set()
    found = set(os.listdir(folder)) if STANDARD_INPUT in (sources := list(sources)) else set()
    named = (_in_folder(each, []) if os.path.isdir(each) else _matching(each) for each in sources)
    return found | names_of(folder, chain.from_iterable(named))
