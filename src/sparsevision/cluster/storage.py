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
_PASSWORD = re.compile(_ADDRESS.pattern + r"[^/?]*:[^/?]*@", re.IGNORECASE)


def _is_address(path: str) -> bool:
    return _ADDRESS.match(path) is not None


def located(path: str) -> str:
    """Returns an address as it is, and a local path from the root: workers may be in another folder."""
    return path if _is_address(path) else os.path.abspath(os.path.expanduser(path))


def lies_in(path: str, folder: str) -> bool:
    """Returns whether a path is a folder itself, or below it."""
    inner, outer = (_without_options(located(each)).rstrip("/") for each in (path, folder))
    return f"{inner}/".startswith(f"{outer}/")


@dataclass(frozen=True)
class Storage:
    """A folder or a file, the `root`, and the file system of pyarrow's in which it is called `base`.

    Other paths are those of the file system.
    """

    root: str
    system: Any
    base: str

    @classmethod
    def of(cls, root: str) -> Storage:
        """Returns the storage that a path or an address leads to.

        Raises ConfigError where there is none, and for an address with a password, which plans and results would tell.
        """
        from pyarrow import ArrowException
        from pyarrow.fs import FileSystem, LocalFileSystem

        if not _is_address(root):
            return cls(root, LocalFileSystem(), root)
        if _PASSWORD.match(root):
            raise ConfigError(
                "An address with a password would be written into the results: set it in the environment, as "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )
        try:
            system, base = FileSystem.from_uri(root)
        except (ArrowException, OSError, ValueError) as error:
            raise ConfigError(f"There is no file system for {root!r}: {first_line(error)}.") from error
        if not base.strip("/"):
            raise ConfigError(f"{root!r} is a whole file system: name a folder in it.")
        return cls(root, system, base)

    def within(self, name: str) -> str:
        """Returns the path of a name in the root."""
        return f"{self.base}/{name}"

    def shown(self, path: str) -> str:
        """Returns a path as it is told to users: behind an address, it begins with the address of the root."""
        if not _is_address(self.root):
            return path
        return _without_options(self.root).rstrip("/") + path.removeprefix(self.base)

    def files(self) -> Iterator[str]:
        """Yields the root itself where it is a file, or the files below it, sorted; hidden ones are left out.

        Raises ConfigError for a root that is not there or cannot be listed.
        """
        from pyarrow.fs import FileSelector, FileType

        try:
            [info] = self.system.get_file_info([self.base])
            if info.type == FileType.NotFound:
                raise ConfigError(f"{self.root!r} does not exist.")
            if info.type == FileType.File:
                yield self.base
                return
            found = self.system.get_file_info(FileSelector(self.base, recursive=True))
        except OSError as error:
            raise ConfigError(f"{self.root!r} cannot be listed: {first_line(error)}.") from error
        for path in sorted(info.path for info in found if info.type == FileType.File):
            below = PurePosixPath(path).relative_to(PurePosixPath(self.base))
            if not any(part.startswith(".") for part in below.parts):
                yield path

    def read(self, path: str) -> bytes:
        """Returns a file's bytes; raises OSError, or ArrowException where the file system does not take the path."""
        with self.system.open_input_stream(path) as stream:
            content: bytes = stream.read()
        return content

    def names(self) -> set[str]:
        """Returns the names in the root that are not hidden; none where there is no folder."""
        from pyarrow.fs import FileSelector

        found = self.system.get_file_info(FileSelector(self.base, allow_not_found=True))
        return {info.base_name for info in found if not info.base_name.startswith(".")}

    def write(self, name: str, content: bytes) -> None:
        """Writes a file that is either whole or absent, beside the name and then under it; makes the folder."""
        self.system.create_dir(self.base, recursive=True)
        beside = self.within(f".{name}.{secrets.token_hex(4)}")
        with self.system.open_output_stream(beside) as stream:
            stream.write(content)
        self.system.move(beside, self.within(name))


def _without_options(address: str) -> str:
    """Leaves out what stands behind the path of an address, as ?region=; a local path is all path."""
    return address.split("?")[0] if _is_address(address) else address
