"""A job on a machine or on a cluster, by Ray Data: workers take shards, and what is done already is left out."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sparsevision.cluster.plan import PLAN_FILE, Plan, read_plan
from sparsevision.cluster.storage import Storage, located
from sparsevision.cluster.worker import ShardWorker
from sparsevision.errors import ConfigError, SparseVisionError, first_line, import_extra


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """What a job has done: images whose rows it wrote, those of them that could not be read, and shards.

    `before` are shards that an earlier call had finished, and `left` those that a stop has left over.
    """

    images: int
    skipped: int
    shards: int
    before: int
    left: int


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Workers of a job: how many at most (None: as many as fit), and what each takes of a machine."""

    count: int | None = None
    cpus: int = 1
    gpus: float = 0
    address: str | None = None


def predict_all(
    plan: Plan, out: str, workers: Workers | None = None, *, progress: Callable[[int, int], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> BatchReport:  # fmt: skip
    """Writes the rows of all images of a plan into a folder, a Parquet file a shard.

    A folder in which the same plan was begun is completed. On several machines, sources, model and folder have to be
    at the same place everywhere: on a shared disk, or behind an address.

    Args:
        plan: of the job.
        out: the folder, local or an address.
        workers: what to take of which cluster; None: all cores of this machine, or of the cluster that it belongs to.
        progress: called with the number of finished shards and of all.
        stopped: asked after every shard; the job ends where it returns True.

    Raises:
        ConfigError: the folder holds something else, the cluster cannot be reached, or a shard cannot be read at all.
    """
    workers, out = workers or Workers(), located(out)
    todo = begin(plan, out)
    images = skipped = done = 0
    if todo:
        with _cluster(workers.address), _sentences():
            for row in _rows(plan, out, todo, workers):
                images, skipped, done = images + row["images"], skipped + row["skipped"], done + 1
                if progress is not None:
                    progress(len(plan.shards) - len(todo) + done, len(plan.shards))
                if stopped():
                    break
    return BatchReport(
        images=images, skipped=skipped, shards=done, before=len(plan.shards) - len(todo), left=len(todo) - done
    )


def begin(plan: Plan, out: str) -> list[int]:
    """Writes the plan into a new folder, or compares it with the one that is there; returns the shards to predict.

    Raises ConfigError for a folder that holds anything else.
    """
    storage = Storage.of(out)
    try:
        names = storage.names()
        if PLAN_FILE not in names:
            if names:
                raise ConfigError(f"{out!r} holds files that no job has written: give a new folder.")
            storage.write(PLAN_FILE, plan.to_json().encode())
            return list(range(len(plan.shards)))
    except OSError as error:
        raise ConfigError(f"{out!r} cannot be used for results: {first_line(error)}.") from error
    begun = read_plan(out)
    if differs := begun.differences(plan):
        raise ConfigError(f"{out!r} holds results of {' and '.join(differs)}: give a new folder.")
    return [shard.number for shard in plan.shards if shard.file not in names]


def _rows(plan: Plan, out: str, todo: list[int], workers: Workers) -> Iterator[dict[str, int]]:
    """Yields a row for every shard as it is finished."""
    import ray

    # Progress is shown by the caller, and Ray's own messages about its steps are not for the user.
    ray.data.DataContext.get_current().enable_progress_bars = False
    for handler in logging.getLogger("ray.data").handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.ERROR)
    fitting = sum(_fitting(node["Resources"], workers) for node in ray.nodes() if node["Alive"])
    if fitting < 1:
        gpus = f" and {workers.gpus:g} GPUs" if workers.gpus else ""
        raise ConfigError(f"No machine has {workers.cpus} cores{gpus} for a worker: lower --cpus or --gpus.")
    most = min(workers.count or fitting, fitting, len(todo))
    shards = ray.data.from_items([{"shard": number} for number in todo], override_num_blocks=len(todo))
    device = "cuda" if workers.gpus else "cpu"
    worker: Any = ShardWorker  # Ray makes one a process, and calls that
    found = shards.map(
        worker, fn_constructor_args=(out,), fn_constructor_kwargs={"threads": workers.cpus, "device": device},
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most), num_cpus=workers.cpus, num_gpus=workers.gpus,
    )  # fmt: skip
    yield from found.iter_rows()


def _fitting(machine: Mapping[str, float], workers: Workers) -> int:
    """Returns how many workers a machine has room for: one takes nothing from two."""
    by_cores = machine.get("CPU", 0) // workers.cpus
    return int(min(by_cores, machine.get("GPU", 0) / workers.gpus) if workers.gpus else by_cores)


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Connects to a cluster, or starts one of this machine, unless that was done before."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what fails is raised, too
    import_extra("ray.data", "Predicting in several processes")
    import ray

    if ray.is_initialized():
        yield
        return
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    # Ray raises several kinds for a cluster that is not there, or that will not start.
    except Exception as error:
        raise ConfigError(f"Ray could not be reached at {address or 'this machine'}: {first_line(error)}.") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _sentences() -> Iterator[None]:
    """Raises what a worker has refused in a sentence as that, without Ray's own report around it."""
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except RayTaskError as error:
        cause: Any = error
        while cause is not None and not isinstance(cause, SparseVisionError):
            cause = getattr(cause, "cause", None) or cause.__cause__
        if cause is None:
            raise
        raise ConfigError(str(cause)) from error
    except RayError as error:
        raise ConfigError(f"The cluster has failed ({first_line(error)}): call again to go on.") from error
