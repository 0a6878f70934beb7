"""`sparsevision batch`: the results of a model for very many images, as Parquet files."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from sparsevision.cli.names import split_options
from sparsevision.cli.tables import progress_bar
from sparsevision.errors import ConfigError
from sparsevision.stopping import StopRequest
from sparsevision.wording import count_of

_OWN = ("model", "out", "column", "shard-images", "workers", "cpus", "gpus", "address", "debug")
_NAMED = 3


def batch(
    *sources: Annotated[str, Parameter(allow_leading_hyphen=True)], out: str, model: str = "sparseformer_nano",
    column: str | None = None, shard_images: int = 256, workers: int | None = None, cpus: int = 1, gpus: float = 0,
    address: str | None = None,
) -> int:  # fmt: skip
    """Predict very many images on all cores of a machine, or on a cluster of Ray, into Parquet files.

    Every image is a row: its name, its result as the JSON that `predict --json` prints, or the reason why it could not
    be read. A job that was stopped or killed goes on where it is called again in the same way: no row is lost or
    doubled. On several machines sources, model and --out have to be at the same place everywhere.

    Further options depend on the model, as those of `predict`.

    Args:
        sources: Image files, Parquet files with images in a column, .tar files (WebDataset), or folders of these; local
            or an address as s3://bucket/folder.
        out: The folder for the results, local or an address. New, or that of the same job.
        model: A checkpoint (folder or file), a run's best/ folder, or a model's name for its published weights.
        column: Of Parquet files, the column that holds the images. Default: the only one of bytes.
        shard_images: Images of one file of results; Parquet files are divided by their row groups instead, and a .tar
            file is not divided.
        workers: Processes at most. Default: as many as there are cores for.
        cpus: Cores of each.
        gpus: GPUs of each, 0.5 for two on one.
        address: Of a Ray cluster, or auto for the one that this machine belongs to. Default: this machine alone.
    """
    given, options = split_options(sources)
    if not given:
        raise ConfigError("No images were given: name files, folders or addresses.")
    for name, count in (("--workers", workers), ("--cpus", cpus)):
        if count is not None and count < 1:
            raise ConfigError(f"{name} {count}: there must be at least 1.")
    if gpus < 0:
        raise ConfigError(f"--gpus {gpus:g}: a worker cannot take less than none.")
    from sparsevision.checkpoints.identity import fingerprint
    from sparsevision.cluster import Workers, lies_in, make_plan, predict_all
    from sparsevision.factory import open_model
    from sparsevision.inference import Predictor
    from sparsevision.inference.options import resolve_options

    for source in given:
        if lies_in(out, source):
            raise ConfigError(f"--out {out} lies in {source}, which is read: give a folder elsewhere.")
    # Opened here once, so that what is wrong with the model or with the options is reported before a cluster starts.
    made = open_model(model)
    predictor = Predictor(made, "cpu")
    if predictor.task.things != "images":
        raise ConfigError(f"{model!r} is a model of {predictor.task.things}: `batch` is for models of images.")
    chosen = resolve_options(options, [*predictor.options.values()], others=_OWN)
    predictor([], **chosen)
    plan, others = make_plan(
        given, model, weights=fingerprint(made), options=chosen, column=column, shard_images=shard_images
    )
    if others:
        named = ", ".join(others[:_NAMED]) + (", ..." if len(others) > _NAMED else "")
        print(f"Not read, because they are not images: {count_of(len(others), 'file')} ({named}).")
    with StopRequest() as stop, progress_bar("shards") as progress:
        done = predict_all(
            plan, out, Workers(count=workers, cpus=cpus, gpus=gpus, address=address), progress=progress,
            stopped=lambda: stop.signal is not None,
        )  # fmt: skip
    if done.before:
        print(f"{done.before} of {len(plan.shards)} shards were finished before.")
    if done.shards or not done.before:
        written = f"{count_of(done.images, 'image')} in {count_of(done.shards, 'shard')}"
        print(f"{written}, {done.skipped} of them without a result, are in {out}.")
    stop.raise_if_stopped(f"with {count_of(done.left, 'shard')} left; call again in the same way to go on")
    return 0
