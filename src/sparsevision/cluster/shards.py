"""The images of a shard, with their names, wherever they lie."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from sparsevision.cluster.plan import Shard, ShardKind
from sparsevision.cluster.storage import Storage
from sparsevision.data.reading import is_image_name
from sparsevision.errors import ConfigError, first_line


class StoredImage(NamedTuple):
    """One image: its name in results, and its file's content, or the reason why there is none."""

    name: str
    content: bytes | None
    reason: str | None = None


def images_of(shard: Shard, column: str | None) -> Iterator[StoredImage]:
    """Yields the images of a shard in its order; `column` of a Parquet file holds them, by default the one that can.

    Raises ConfigError for a Parquet file without such a column. What cannot be read is yielded with the reason.
    """
    return _READERS[shard.kind](shard, column)


def _of_files(shard: Shard, _: str | None) -> Iterator[StoredImage]:
    storage = Storage.of(shard.paths[0])
    for path in shard.paths:
        try:
            yield StoredImage(path, storage.read(path))
        except OSError as error:
            yield StoredImage(path, None, f"{path} cannot be read: {first_line(error)}.")


def _of_tar(shard: Shard, _: str | None) -> Iterator[StoredImage]:
    [path] = shard.paths
    storage = Storage.of(path)
    try:
        with storage.system.open_input_stream(storage.inside(path)) as stream:
            watched: Any = _Tail(stream)  # a stream that is read on and on is all that tarfile needs
            with tarfile.open(fileobj=watched, mode="r|") as tar:
                for member in tar:
                    if member.isfile() and is_image_name(member.name):
                        content = tar.extractfile(member)
                        assert content is not None
                        yield StoredImage(f"{path}/{member.name}", content.read())
            # tarfile takes a file that stops between two members for a whole one; the end is a block of zeros.
            if not watched.ends_in_zeros():
                raise tarfile.ReadError("it stops before its end")
    except (OSError, tarfile.TarError, EOFError) as error:
        yield StoredImage(path, None, f"{path} cannot be read to its end: {first_line(error)}.")


class _Tail:
    """A stream that keeps its last block."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.last = stream, b""

    def read(self, size: int) -> bytes:
        content: bytes = self.stream.read(size)
        self.last = (self.last + content)[-tarfile.BLOCKSIZE :]
        return content

    def ends_in_zeros(self) -> bool:
        while self.read(tarfile.RECORDSIZE):
            pass
        return self.last == bytes(tarfile.BLOCKSIZE)


def _of_rows(shard: Shard, column: str | None) -> Iterator[StoredImage]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    [path] = shard.paths
    storage = Storage.of(path)
    try:
        with ParquetFile(storage.inside(path), filesystem=storage.system) as file:
            name = _image_column(file.schema_arrow, path, column)
            first = sum(file.metadata.row_group(group).num_rows for group in range(shard.row_group or 0))
            values = file.read_row_group(shard.row_group or 0, columns=[name]).column(0)
    except (ArrowException, OSError) as error:
        yield StoredImage(path, None, f"{path} cannot be read: {first_line(error)}.")
        return
    for number, value in enumerate(values, start=first):
        given = value.as_py()
        own = given.get("path") if isinstance(given, dict) else None
        content = given.get("bytes") if isinstance(given, dict) else given
        name = f"{path}#row {number}" + (f" {own}" if own else "")
        yield StoredImage(name, content, None if content else f"{name} is empty.")


def _image_column(schema: Any, path: str, wanted: str | None) -> str:
    """Returns the column of bytes, or of (bytes, path) as Hugging Face's data sets have it."""
    from pyarrow import types

    def holds_bytes(kind: Any) -> bool:
        if types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0 and holds_bytes(kind.field("bytes").type)
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    found: list[str] = [field.name for field in schema if holds_bytes(field.type)]
    if wanted is not None and wanted not in found:
        raise ConfigError(f"{path!r} has no column {wanted!r} of images: {', '.join(found) or 'none'} could be one.")
    if wanted is None and len(found) != 1:
        raise ConfigError(f"{path!r} has {len(found)} columns of bytes{': choose one by --column' if found else ''}.")
    return wanted or found[0]


_READERS: Mapping[ShardKind, Callable[[Shard, str | None], Iterator[StoredImage]]] = {
    "files": _of_files,
    "parquet": _of_rows,
    "tar": _of_tar,
}
