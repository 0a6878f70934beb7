"""Files that are either whole or absent, also after a crash."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sparsevision.errors import ConfigError, naming


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path to write to, which becomes `path` when the block ends; after an error it is deleted.

    Missing folders are made. The suffix stays, by which libraries choose a format.
    """
    part = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
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


def numbered_stem(source: str, taken: Counter[str]) -> str:
    """Returns a source's name without folder and suffix, numbered where it was `taken` before."""
    stem = Path(source).stem
    taken[stem] += 1
    return stem if taken[stem] == 1 else f"{stem}-{taken[stem]}"
