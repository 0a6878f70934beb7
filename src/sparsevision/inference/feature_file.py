"""Features of many images in one file, for search, clustering or a classifier of one's own."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from sparsevision.errors import ConfigError, MissingExtraError
from sparsevision.files import check_folder_of, replacing
from sparsevision.tasks import Writer
from sparsevision.types import Result

SUFFIXES = (".npz", ".parquet")
_ROWS_AT_ONCE = 1024


class FeatureFile(Writer[Result]):
    """Writes names and features as they come; the file appears under its name only when all are written.

    A `.parquet` file has the columns `name` and `features` (lists of float32) and is written in portions; a `.npz` file
    has the arrays `names` (N,) and `features` (N, D), held in memory until the end.

    Raises ConfigError if the suffix is neither or the folder does not exist, MissingExtraError if pyarrow is missing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()
        if self.path.suffix not in SUFFIXES:
            raise ConfigError(f"Features go into a file that ends in {' or '.join(SUFFIXES)}, not {str(self.path)!r}.")
        check_folder_of(self.path, "the features")
        self._arrow: Any = None
        if self.path.suffix == ".parquet":
            try:
                import pyarrow.parquet
            except ImportError:
                raise MissingExtraError("pyarrow", "Writing Parquet") from None
            self._arrow = pyarrow
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

    def __exit__(self, *failure: Any) -> None:
        if failure[0] is None and self._names:
            if self._arrow is not None:
                self._write_rows()
            else:
                with replacing(self.path) as part:
                    np.savez(part, names=np.array(self._names), features=np.stack(self._features))
        self._open.__exit__(*failure)

    def _write_rows(self) -> None:
        values = self._arrow.array(np.concatenate(self._features).astype(np.float32))
        features = self._arrow.FixedSizeListArray.from_arrays(values, len(self._features[0]))
        table = self._arrow.table({"name": self._arrow.array(self._names), "features": features})
        if self._writer is None:
            part = self._open.enter_context(replacing(self.path))
            self._writer = self._open.enter_context(self._arrow.parquet.ParquetWriter(part, table.schema))
        self._writer.write_table(table)
        self._names, self._features = [], []
