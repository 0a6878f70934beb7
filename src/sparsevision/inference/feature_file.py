"""Features of many pictures into one file, for search, clustering or a classifier of one's own."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from sparsevision.errors import ConfigError, MissingExtraError
from sparsevision.files import replacing
from sparsevision.tasks import Writer
from sparsevision.types import Result

SUFFIXES = (".npz", ".parquet")
_ROWS_AT_ONCE = 1024


class FeatureFile(Writer[Result]):
    """Writes names and features as they come; the file appears under its name only when all are written.

    A `.parquet` file has the columns `name` and `features` (lists of float32) and is written in portions; a `.npz` file
    has the arrays `names` (N,) and `features` (N, D), held in memory until the end.

    Raises:
        ConfigError: the suffix is neither, or the folder is not there.
        MissingExtraError: Parquet is asked for and pyarrow is not installed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()
        if self.path.suffix not in SUFFIXES:
            raise ConfigError(f"Features go into a file that ends in {' or '.join(SUFFIXES)}, not {str(self.path)!r}.")
        if not self.path.parent.is_dir():
            raise ConfigError(f"The folder {str(self.path.parent)!r} for the features does not exist: make it first.")
        self._arrow = _import_arrow() if self.path.suffix == ".parquet" else None
        self._open = ExitStack()
        self._names: list[str] = []
        self._features: list[Any] = []
        self._writer: Any = None

    def add(self, result: Result) -> None:
        """Takes one result that has features."""
        if result.features is None:
            raise ConfigError(f"The result for {result.name} has no features: predict with features=True.")
        self._names.append(result.name.encode("utf-8", "backslashreplace").decode())
        self._features.append(result.features.numpy())
        if self._arrow is not None and len(self._names) == _ROWS_AT_ONCE:
            self._write_rows()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._names:
            if self._arrow is not None:
                self._write_rows()
            else:
                with replacing(self.path) as part, part.open("wb") as file:
                    np.savez(file, names=np.array(self._names), features=np.stack(self._features))
        self._open.__exit__(kind, error, trace)

    def _write_rows(self) -> None:
        assert self._arrow is not None
        arrow, parquet = self._arrow
        width = len(self._features[0])
        values = arrow.array(np.concatenate(self._features).astype(np.float32))
        columns = {"name": arrow.array(self._names), "features": arrow.FixedSizeListArray.from_arrays(values, width)}
        table = arrow.table(columns)
        if self._writer is None:
            part = self._open.enter_context(replacing(self.path))
            self._writer = self._open.enter_context(parquet.ParquetWriter(part, table.schema))
        self._writer.write_table(table)
        self._names, self._features = [], []


def _import_arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "Writing Parquet") from None
    return pyarrow, pyarrow.parquet
