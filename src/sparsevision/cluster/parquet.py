"""Parquet files with images in a column, of bytes or, as Hugging Face's data sets have it, of bytes and a path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sparsevision.cluster.storage import Storage
from sparsevision.errors import ConfigError, first_line


def row_groups(storage: Storage, path: str, column: str | None) -> int | None:
    """Returns the number of row groups of a file; None where no column could hold images.

    Raises ConfigError for a file that cannot be read, without the named column, or where several could be meant.
    """
    from pyarrow import ArrowException

    try:
        with _opened(storage, path) as file:
            columns = _image_columns(file.schema_arrow)
            count: int = file.metadata.num_row_groups
    except (ArrowException, OSError) as error:
        raise ConfigError(
            f"{storage.shown(path)!r} is not a Parquet file that can be read: {first_line(error)}."
        ) from error
    if column is not None and column not in columns:
        raise ConfigError(
            f"{storage.shown(path)!r} has no column {column!r} of images: {', '.join(columns) or 'none'} could be one."
        )
    if column is None and len(columns) > 1:
        raise ConfigError(
            f"{storage.shown(path)!r} has {len(columns)} columns of bytes ({', '.join(columns)}): choose one by "
            "--column."
        )
    return count if columns else None


def images_in(storage: Storage, path: str, group: int, column: str | None) -> Iterator[tuple[int, Any, str | None]]:
    """Yields the row's number, the content and the image's own path of each row of a group.

    Raises ArrowException or OSError where the file cannot be read.
    """
    with _opened(storage, path) as file:
        name = column or _image_columns(file.schema_arrow)[0]
        first = sum(file.metadata.row_group(each).num_rows for each in range(group))
        values = file.read_row_group(group, columns=[name]).column(0)
    for number, value in enumerate(values, start=first):
        given = value.as_py()
        if isinstance(given, dict):
            yield number, given.get("bytes"), given.get("path")
        else:
            yield number, given, None


def _image_columns(schema: Any) -> list[str]:
    """Returns the columns that could hold images."""
    from pyarrow import types

    def holds_bytes(kind: Any) -> bool:
        if types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0 and holds_bytes(kind.field("bytes").type)
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    return [field.name for field in schema if holds_bytes(field.type)]


def _opened(storage: Storage, path: str) -> Any:
    from pyarrow.parquet import ParquetFile

    return ParquetFile(path, filesystem=storage.system)
