"""A worker: it opens the model once, and turns one shard after another into a file of rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from io import BytesIO
from itertools import islice
from typing import Any

from sparsevision.cluster.plan import Shard, read_plan
from sparsevision.cluster.shards import StoredImage, images_of
from sparsevision.cluster.storage import Storage
from sparsevision.errors import SparseVisionError, first_line
from sparsevision.types import UnreadResult

METADATA_KEY = "sparsevision"
# Batches of a shard whose results are in memory together.
_BATCHES = 4


class NamedBytes(bytes):
    """The content of an image's file, which carries the image's name."""

    filename: str


class ShardWorker:
    """Predicts shards and writes their rows; what Ray makes once a process, and calls for every shard."""

    def __init__(self, out: str, *, threads: int, device: str | None) -> None:
        import torch

        from sparsevision.inference import Predictor

        torch.set_num_threads(threads)
        self.out, self.plan = out, read_plan(out)
        self.predictor = Predictor(self.plan.model, device)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, int]:
        """Predicts the shard of a number, and returns how many images it has, and how many could not be read."""
        shard = self.plan.shards[row["shard"]]
        rows = list(self.rows(shard))
        Storage.of(self.out).write(shard.file, self._as_parquet(rows))
        return {"images": len(rows), "skipped": sum(row["result"] is None for row in rows)}

    def rows(self, shard: Shard) -> Iterator[dict[str, str | None]]:
        """Yields a shard's rows: an image's "name", and its "result" as JSON, or the "reason" why there is none."""
        size = _BATCHES * self.predictor.batch_size
        stored = images_of(shard, self.plan.column)
        while images := list(islice(stored, size)):
            read = [_named(image) for image in images if image.content]
            results = iter(self._results(read))
            for image in images:
                result = next(results) if image.content else None
                reason = result.reason if isinstance(result, UnreadResult) else image.reason
                text = None if result is None or reason else json.dumps(result.to_dict())
                yield {"name": image.name, "result": text, "reason": reason}

    def _results(self, images: list[NamedBytes]) -> list[Any]:
        """Predicts images; where they cannot be predicted together, each alone, so that one does not fail others."""
        try:
            return self.predictor(list(images), **self.plan.options)
        except SparseVisionError:
            return [self._result(image) for image in images]

    def _result(self, image: NamedBytes) -> Any:
        try:
            [result] = self.predictor([image], **self.plan.options)
        except SparseVisionError as error:
            return UnreadResult(name=image.filename, reason=first_line(error))
        return result

    def _as_parquet(self, rows: list[dict[str, str | None]]) -> bytes:
        import pyarrow as pa
        from pyarrow.parquet import write_table

        made = json.dumps({"model": self.plan.model, "options": dict(self.plan.options)})
        schema = pa.schema([(name, pa.string()) for name in ("name", "result", "reason")], {METADATA_KEY: made})
        buffer = BytesIO()
        write_table(pa.Table.from_pylist(rows, schema=schema), buffer)
        return buffer.getvalue()


def _named(image: StoredImage) -> NamedBytes:
    named = NamedBytes(image.content or b"")
    named.filename = image.name
    return named
