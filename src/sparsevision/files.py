"""Files that are either whole or absent, also after a crash, and that never replace what a user has."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any
from unicodedata import normalize

from sparsevision.errors import ConfigError, naming

# The file in which a folder's outputs are recorded, a JSON line each; a folder that is one output has this name there.
RECORD, WHOLE = ".sparsevision.jsonl", "."


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path to write to, which becomes `path` when the block ends; after an error it is deleted.

    Missing folders are made. The suffix stays, by which libraries choose a format.
    """
    part = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.touch()
            usual = stat.S_IMODE(part.stat().st_mode)
            yield part
            part.chmod(usual)  # some libraries write files that nobody else may read
            flush(part)
            os.replace(part, path)
            flush(path.parent)
        except OSError as error:
            if error.filename == str(part):
                error.filename = str(path)  # the name that the user gave
            raise
        finally:
            with suppress(OSError):
                part.unlink()


def check_folder_of(path: Path, content: str) -> None:
    """Raises ConfigError unless the folder exists in which a file of some content is to be written."""
    if not path.parent.is_dir():
        raise ConfigError(f"The folder {str(path.parent)!r} for {content} does not exist: make it first.")


def flush(path: Path) -> None:
    """Makes a file, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_new(path: Path, *, overwrite: bool = False, inputs: Iterable[str | Path] = ()) -> None:
    """Raises ConfigError for a file that may not be written.

    That is one that exists, unless `overwrite` is set, and one that is among the `inputs` (files, or whole folders),
    by whatever link.
    """
    if str(path) == "-":
        raise ConfigError("'-' is not the name of a file: a file is written under a name, and results to the console.")
    if not os.path.lexists(path):
        return
    own, place = identity_of_file(path), path.resolve()
    if any(own == identity_of_file(each) or place.is_relative_to(os.path.realpath(each)) for each in inputs):
        raise ConfigError(f"{str(path)!r} belongs to what this command reads: choose another name for the output.")
    if path.is_dir():
        raise ConfigError(f"{str(path)!r} is a folder: give the name of a file.")
    if path.exists() and not path.is_file():
        raise ConfigError(f"{str(path)!r} is a device or a pipe: give the name of a file.")
    if not overwrite:
        raise ConfigError(f"{str(path)!r} exists already: choose another name, or replace it with --overwrite.")


def check_different(paths: Iterable[Path]) -> None:
    """Raises ConfigError where two outputs are one file."""
    seen: set[str] = set()
    for path in paths:
        if (place := _folded(os.path.realpath(path))) in seen:
            raise ConfigError(f"{str(path)!r} is named twice as an output: give each its own file.")
        seen.add(place)


def identity_of_file(path: str | Path) -> object:
    """Returns what tells whether two paths lead to one file, however it is linked; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    # Some file systems do not number their files.
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)


def names_of(folder: Path, inputs: Iterable[str | Path]) -> set[str]:
    """Returns the names in a folder that lead to one of the input files, however they are linked."""
    names: dict[object, set[str]] = {}
    with naming(folder):
        for name in os.listdir(folder) if folder.is_dir() else ():
            names.setdefault(identity_of_file(folder / name), set()).add(name)
    names.pop(None, None)
    found: set[str] = set()
    # An output folder is new most of the time, and a data set may have a million files.
    for each in inputs if names else ():
        found |= names.get(identity_of_file(each), set())
    return found


class OutputFolder:
    """A folder that a command writes into without replacing what it did not write itself.

    What a command writes is recorded in the folder (`RECORD`); a later run of the same command replaces that, as long
    as nobody else has changed it, and nothing else, unless `overwrite` is set. `inputs` are names of files in the
    folder that are read and never replaced. Outputs of one run have different names, also where the file system
    ignores case.

    Raises ConfigError if the path is a file.
    """

    def __init__(self, path: Path, command: str, *, overwrite: bool = False, inputs: Iterable[str] = ()) -> None:
        self.path, self.command, self.overwrite = path, command, overwrite
        if path.exists() and not path.is_dir():
            raise ConfigError(f"{str(path)!r} is a file: give a folder to write into.")
        with naming(path):
            existing = set(os.listdir(path)) if path.exists() else set()
        own = {name for name, by in recorded_in(path).items() if by == command}
        kept = {*inputs} if overwrite else {*inputs, *(existing - own)}
        self._kept = set(map(_folded, kept))
        self._taken: set[str] = set()

    def make(self) -> None:
        """Makes the folder, where it is missing."""
        with naming(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yields the path of an output, which is recorded when the block ends.

        Raises ConfigError for a file that is not to be replaced.
        """
        self.check(name)
        self.make()
        yield self.path / name
        record(self.path, name, self.command)

    def check(self, name: str) -> None:
        """Raises ConfigError for a file that is not to be replaced."""
        if _folded(name) in self._kept:
            remedy = "" if self.overwrite else ", or replace it with --overwrite"
            raise ConfigError(f"{str(self.path / name)!r} exists already: choose another folder{remedy}.")

    def stem(self, source: str, endings: Iterable[str]) -> str:
        """Returns the beginning of the names of a source's outputs: its own name without folder and suffix.

        It is numbered where it is taken: by another source, or by a file that is kept and whose name goes on with one
        of the `endings`.
        """
        plain, endings = Path(source).stem, tuple(endings)
        numbered = chain([plain], (f"{plain}-{number}" for number in count(2)))
        found = next(stem for stem in numbered if not self._is_taken(_folded(stem), endings))
        self._taken.add(_folded(found))
        return found

    def _is_taken(self, stem: str, endings: Iterable[str]) -> bool:
        return stem in self._taken or any(f"{stem}{ending}" in self._kept for ending in endings)


def record(folder: Path, name: str, command: str) -> None:
    """Records that a command has written a file of a folder, as it is now, or the `WHOLE` folder."""
    path, row = folder / RECORD, {"file": name, "command": command}
    with naming(path):
        content = {} if name == WHOLE else _content_of(folder / name)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**row, **content}) + "\n")


def recorded_in(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Returns the names of the outputs that are recorded in a folder, and the command that wrote each.

    A file that has another content by now is somebody's own, and left out.
    """
    try:
        lines = Path(folder, RECORD).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    for line in lines:
        # A line may be half written, and the file may be anybody's.
        with suppress(ValueError, LookupError, TypeError, RecursionError):
            row = json.loads(line)
            found[str(row["file"])] = {**row, "command": str(row["command"])}
    return {name: row["command"] for name, row in found.items() if name == WHOLE or _is_as_recorded(folder, name, row)}


def _content_of(path: Path) -> dict[str, Any]:
    status = os.stat(path)
    return {"bytes": status.st_size, "time": status.st_mtime_ns, "digest": hash_of(path).hex()}


def _is_as_recorded(folder: str | os.PathLike[str], name: str, row: Mapping[str, Any]) -> bool:
    """Whether a file has the content that was recorded, or is missing; a copy of it has another time."""
    path = Path(folder, name)
    try:
        status = os.lstat(path)
        # A link was put there by somebody else.
        if not stat.S_ISREG(status.st_mode) or status.st_size != row.get("bytes"):
            return False
        return status.st_mtime_ns == row.get("time") or hash_of(path).hex() == row.get("digest")
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False


def hash_of(path: Path) -> bytes:
    """Hashes a file's bytes, block by block; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=16)).digest()


def _folded(name: str) -> str:
    return normalize("NFC", name).casefold()
