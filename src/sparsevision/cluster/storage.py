"""Files on a local disk or behind an address, through pyarrow's file systems."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from sparsevision.errors import ConfigError, first_line

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def located(path: str) -> str:
    """Returns an address as it is, and a local path from the root: workers may be in another folder."""
    return path if _ADDRESS.match(path) else os.path.abspath(os.path.expanduser(path))


def lies_in(path: str, folder: str) -> bool:
    """Returns whether a path is a folder itself, or below it."""
    return f"{located(path)}/".startswith(f"{located(folder).rstrip('/')}/")


@dataclass(frozen=True)
class Storage:
    """A file system of pyarrow's; `address` is what its paths begin with where they are addresses, else empty."""

    system: Any
    address: str

    @classmethod
    def of(cls, path: str) -> Storage:
        """Returns the storage that a path or an address leads to; raises ConfigError where there is none."""
        from pyarrow import ArrowException
        from pyarrow.fs import FileSystem, LocalFileSystem

        if not _ADDRESS.match(path):
            return cls(LocalFileSystem(), "")
        try:
            system, inside = FileSystem.from_uri(path)
        except (ArrowException, OSError, ValueError) as error:
            raise ConfigError(f"There is no file system for {path!r}: {first_line(error)}.") from error
        return cls(system, path.split("?")[0].removesuffix(inside))

    def inside(self, path: str) -> str:
        """Returns a path as the file system has it."""
        return path.split("?")[0].removeprefix(self.address) if self.address else path

    def files(self, source: str) -> Iterator[str]:
        """Yields a file itself, or the files in a folder, to any depth, sorted; hidden ones are left out.

        Raises ConfigError for a source that is not there or cannot be listed.
        """
        from pyarrow.fs import FileSelector, FileType

        top = self.inside(source)
        try:
            [info] = self.system.get_file_info([top])
            if info.type == FileType.NotFound:
                raise ConfigError(f"{source!r} does not exist.")
            if info.type == FileType.File:
                yield source
                return
            found = self.system.get_file_info(FileSelector(top, recursive=True))
        except OSError as error:
            raise ConfigError(f"{source!r} cannot be listed: {first_line(error)}.") from error
        for path in sorted(info.path for info in found if info.type == FileType.File):
            below = PurePosixPath(path).relative_to(PurePosixPath(top))
            if not any(part.startswith(".") for part in below.parts):
                yield self.address + path

    def read(self, path: str) -> bytes:
        """Returns a file's bytes; raises OSError."""
        with self.system.open_input_stream(self.inside(path)) as stream:
            content: bytes = stream.read()
        return content

    def row_groups(self, path: str) -> int:
        """Returns the number of row groups of a Parquet file; raises ConfigError for a file that is none."""
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        try:
            with ParquetFile(self.inside(path), filesystem=self.system) as file:
                count: int = file.metadata.num_row_groups
        except (ArrowException, OSError) as error:
            raise ConfigError(f"{path!r} is not a Parquet file that can be read: {first_line(error)}.") from error
        return count

    def names(self, folder: str) -> set[str]:
        """Returns the names in a folder; none where there is no folder."""
        from pyarrow.fs import FileSelector

        selector = FileSelector(self.inside(folder), allow_not_found=True)
        return {info.base_name for info in self.system.get_file_info(selector)}

    def write(self, folder: str, name: str, content: bytes) -> None:
        """Writes a file that is either whole or absent, beside the name and then under it; makes the folder."""
        place = self.inside(folder)
        self.system.create_dir(place, recursive=True)
        beside = f"{place}/.{name}.{secrets.token_hex(4)}"
        with self.system.open_output_stream(beside) as stream:
            stream.write(content)
        self.system.move(beside, f"{place}/{name}")
