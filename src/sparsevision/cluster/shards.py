"""The images of a shard, with their names, wherever they lie."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from sparsevision.cluster.parquet import images_in
from sparsevision.cluster.plan import Shard, ShardKind
from sparsevision.cluster.storage import Storage
from sparsevision.data.reading import is_image_name
from sparsevision.errors import first_line


class StoredImage(NamedTuple):
    """One image: its name in results, and its file's content, or the reason why there is none."""

    name: str
    content: bytes | None
    reason: str | None = None


def images_of(shard: Shard, column: str | None) -> Iterator[StoredImage]:
    """Yields the images of a shard in its order; `column` of a Parquet file holds them, by default the one that can.

    What cannot be read is yielded with the reason.
    """
    storage = Storage.of(shard.root)
    for image in _READERS[shard.kind](storage, shard, column):
        yield image if image.content or image.reason else image._replace(reason=f"{image.name} is empty.")


def _of_files(storage: Storage, shard: Shard, _: str | None) -> Iterator[StoredImage]:
    from pyarrow import ArrowException

    for path in shard.paths:
        name = storage.shown(path)
        try:
            yield StoredImage(name, storage.read(path))
        except (ArrowException, OSError) as error:
            yield StoredImage(name, None, f"{name} cannot be read: {first_line(error)}.")


def _of_tar(storage: Storage, shard: Shard, _: str | None) -> Iterator[StoredImage]:
    from pyarrow import ArrowException

    [path] = shard.paths
    name = storage.shown(path)
    try:
        with storage.system.open_input_stream(path) as stream:
            watched: Any = _Tail(stream)  # a stream that is read on and on is all that tarfile needs
            with tarfile.open(fileobj=watched, mode="r|") as tar:
                for member in tar:
                    if member.isfile() and is_image_name(member.name):
                        content = tar.extractfile(member)
                        assert content is not None
                        yield StoredImage(f"{name}/{member.name}", content.read())
            # tarfile takes a file that stops between two members for a whole one; the end is a block of zeros.
            if not watched.ends_in_zeros():
                raise tarfile.ReadError("it stops before its end")
    except (ArrowException, OSError, tarfile.TarError, EOFError) as error:
        yield StoredImage(name, None, f"{name} cannot be read to its end: {first_line(error)}.")


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


def _of_rows(storage: Storage, shard: Shard, column: str | None) -> Iterator[StoredImage]:
    from pyarrow import ArrowException

    [path] = shard.paths
    name = storage.shown(path)
    try:
        for number, content, own in images_in(storage, path, shard.row_group or 0, column):
            yield StoredImage(f"{name}#row {number}" + (f" {own}" if own else ""), content)
    except (ArrowException, OSError) as error:
        yield StoredImage(name, None, f"{name} cannot be read: {first_line(error)}.")


_READERS: Mapping[ShardKind, Callable[[Storage, Shard, str | None], Iterator[StoredImage]]] = {
    "files": _of_files,
    "parquet": _of_rows,
    "tar": _of_tar,
}
