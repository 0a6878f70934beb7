"""The plan of a job: which images belong to which shard, fixed before the first one is predicted.

A shard is what one worker predicts at once, and one Parquet file of results. So a job that was killed goes on with the
shards that have no file yet, and no image is lost or predicted twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from sparsevision.cluster.parquet import row_groups
from sparsevision.cluster.storage import Storage, located
from sparsevision.data.reading import is_image_name
from sparsevision.errors import ConfigError, first_line
from sparsevision.factory import is_known

PLAN_FILE = "plan.json"
VERSION = 2
SHARD_IMAGES = 256
ShardKind = Literal["files", "parquet", "tar"]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Images that are predicted together, in this order.

    `root` is the source that they are of. Of kind "files", `paths` are those of the images, as the file system of the
    source has them; of the others, `paths` has one file, and a Parquet file is read by `row_group`.
    """

    number: int
    kind: ShardKind
    root: str
    paths: tuple[str, ...]
    row_group: int | None = None

    @property
    def file(self) -> str:
        """The name of its results."""
        return f"part-{self.number:05d}.parquet"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that decides what a job's rows are.

    Attributes:
        model: a path or a name, as `open_model` takes it.
        weights: digest of the model's weights; empty where they are not compared.
        options: of the prediction.
        column: of Parquet files, that holds the images; None: the one that can.
        shards: of all images, in the order of their numbers.
    """

    model: str
    weights: str
    options: Mapping[str, Any]
    column: str | None
    shards: tuple[Shard, ...]

    def to_json(self) -> str:
        """Returns the plan as a file's text."""
        return json.dumps({"version": VERSION, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Reads a plan; raises ValueError for a text that is none."""
        values = json.loads(text)
        if not isinstance(values, dict) or values.pop("version", None) != VERSION:
            raise ValueError("it is of another version")
        shards = tuple(Shard(**{**shard, "paths": tuple(shard["paths"])}) for shard in values.pop("shards"))
        return cls(**values, shards=shards)

    def differences(self, other: Plan) -> list[str]:
        """Returns what another plan has otherwise."""
        told = {
            "model": "another model",
            "weights": "other weights",
            "options": "other options",
            "column": "another column",
            "shards": "other images",
        }
        return [words for name, words in told.items() if getattr(self, name) != getattr(other, name)]


def read_plan(folder: str) -> Plan:
    """Reads the plan of a folder of results; raises ConfigError where there is none."""
    storage = Storage.of(folder)
    path = storage.within(PLAN_FILE)
    try:
        return Plan.from_json(storage.read(path).decode())
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{storage.shown(path)!r} is not the plan of a job: {first_line(error)}.") from error


def make_plan(
    sources: Sequence[str], model: str, *, options: Mapping[str, Any], weights: str = "", column: str | None = None,
    shard_images: int = SHARD_IMAGES,
) -> tuple[Plan, list[str]]:  # fmt: skip
    """Lists the images of sources in shards; returns the plan, and the files in folders that are not read.

    A source is an image, a Parquet file, a tar file (WebDataset), or a folder of such files, local or an address that
    pyarrow has a file system for (s3://, gs://, hdfs://). Hidden files are not listed.

    Raises:
        ConfigError: a source does not exist, cannot be listed, or has no images; a Parquet file has several columns of
            bytes, and `column` names none.
    """
    if shard_images < 1:
        raise ConfigError(f"A shard has at least one image, not {shard_images}.")
    shards: list[Shard] = []
    others: list[str] = []
    seen: set[str] = set()
    for source in dict.fromkeys(map(located, sources)):
        storage = Storage.of(source)
        there = list(storage.files())
        # What an earlier source has, too, is predicted once.
        files = [path for path in there if storage.shown(path) not in seen]
        seen.update(map(storage.shown, files))
        parts = list(_parts(storage, files, column, shard_images))
        used = {path for _, paths, _ in parts for path in paths}
        others += [storage.shown(path) for path in files if path not in used]
        if not parts and (files or not there):
            raise ConfigError(
                f"{source!r} holds no images: give image files, Parquet files, .tar files, or a folder of these."
            )
        for kind, paths, group in parts:
            shards.append(Shard(number=len(shards), kind=kind, root=source, paths=paths, row_group=group))
    place = located(model) if os.path.exists(model) and not is_known(model) else model
    plan = Plan(model=place, weights=weights, options=dict(options), column=column, shards=tuple(shards))
    return plan, others


def _parts(
    storage: Storage, files: Sequence[str], column: str | None, count: int
) -> Iterator[tuple[ShardKind, tuple[str, ...], int | None]]:
    """Yields kind, paths and row group of each shard; files that are none of the kinds are left out."""
    images = [path for path in files if is_image_name(path)]
    for first in range(0, len(images), count):
        yield "files", tuple(images[first : first + count]), None
    for path in files:
        suffix = PurePosixPath(path).suffix.lower()
        if suffix == ".tar":
            yield "tar", (path,), None
        elif suffix == ".parquet":
            for group in range(row_groups(storage, path, column) or 0):
                yield "parquet", (path,), group
