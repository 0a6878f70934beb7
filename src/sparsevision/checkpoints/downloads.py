"""Released weights: from the package or from where their authors put them, into a cache, checked before use."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO

import torch

from sparsevision import __version__
from sparsevision.checkpoints.assembly import assemble
from sparsevision.checkpoints.checkpoint import Checkpoint
from sparsevision.checkpoints.reading import read_checkpoint
from sparsevision.errors import CheckpointError, SparseVisionError
from sparsevision.files import replacing
from sparsevision.models.registry import NamedVariant, Weights

_SECONDS_WITHOUT_AN_ANSWER, _SECONDS_IN_ALL = 30, 3600
_MOST_BYTES = 4 << 30


def cache_folder() -> Path:
    """Returns where downloads are kept: SPARSEVISION_CACHE if it is set, else `sparsevision` in the user's cache."""
    if chosen := os.environ.get("SPARSEVISION_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparsevision"


def released_weights(variant: NamedVariant) -> Path:
    """Returns the file with a variant's published weights; fetches it where it is not yet in the cache.

    A fetched file takes its place in the cache only after its names and shapes were found to be the variant's.

    Raises:
        CheckpointError: no weights are published, they cannot be fetched (the message names the file to put there), or
            what came is something else.
    """
    weights = variant.weights
    if weights is None:
        raise CheckpointError(f"No weights are published for {variant.name!r}: give a checkpoint, or train it.")
    path = _place(weights)
    if path.is_file():
        return path
    if not _is_address(weights):
        raise CheckpointError(f"The weights of {variant.name!r} are missing from the package: put them at {path}.")
    with fetching(path, weights.location, f"The weights of {variant.name!r}", CheckpointError) as part:
        digest = download(weights.location, part)
        if weights.sha256 not in (None, digest):
            raise CheckpointError(
                f"The file from {weights.location} is not the published one: its SHA-256 is {digest}, not "
                f"{weights.sha256}."
            )
        _check(variant, read_checkpoint(part), weights.location)
    return path


@contextmanager
def fetching(path: Path, address: str, what: str, failure: type[SparseVisionError]) -> Iterator[Path]:
    """Yields a path to fetch to, which becomes `path` when the block ends; raises `failure` where nothing came."""
    try:
        with replacing(path) as part:
            yield part
    # An address that no server answers raises OSError, a broken answer HTTPException, a malformed address ValueError.
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise failure(
            f"{what} could not be fetched ({reason}): get {address} on a machine that can, and put it at {path}."
        ) from error


def weights_status(variant: NamedVariant) -> str:
    """Returns where a variant's weights are: "packaged", "cached", "download" (they can be) or "none"."""
    weights = variant.weights
    if weights is None:
        return "none"
    if _place(weights).is_file():
        return "cached" if _is_address(weights) else "packaged"
    return "download" if _is_address(weights) else "none"


def _is_address(weights: Weights) -> bool:
    return "://" in weights.location


def _place(weights: Weights) -> Path:
    """Returns where a file of weights is or will be on this machine."""
    if _is_address(weights):
        return cache_folder() / weights.location.rsplit("/", 1)[-1]
    return Path(str(files("sparsevision") / "weights" / weights.location))


def download(address: str, target: Path) -> str:
    """Fetches a file and returns its SHA-256; an answer that is shorter than announced, or too large, is an error.

    On a terminal a bar on stderr shows how far it is.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    request = urllib.request.Request(address, headers={"User-Agent": f"sparsevision/{__version__}"})
    began, opened = time.monotonic(), _opener().open(request, timeout=_SECONDS_WITHOUT_AN_ANSWER)
    with opened as answer, target.open("wb") as file:
        total, name = int(answer.headers.get("Content-Length") or 0), address.rsplit("/", 1)[-1]
        if total > _MOST_BYTES:
            raise ValueError(f"the server announces {total >> 20:,} MiB, more than any weights have")
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(name, total=total or None)
            digest = _copy(answer, file, began, partial(bar.advance, task))
        if file.tell() < total:
            raise http.client.IncompleteRead(b"", total - file.tell())
    return digest


def _opener() -> urllib.request.OpenerDirector:
    """Returns what opens addresses of the web alone: a server may send a request on, to files and FTP too."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler, urllib.request.UnknownHandler, urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler, urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):  # fmt: skip
        opener.add_handler(handler())
    return opener


def _copy(source: Any, target: BinaryIO, began: float, advance: Callable[[int], None]) -> str:
    """Copies a bounded number of bytes, in a bounded time since `began`; returns their SHA-256."""
    digest = hashlib.sha256()
    # What has arrived, and not a whole part: of a slow server that would take longer than all may take.
    while part := source.read1(1 << 20):
        target.write(part)
        advance(len(part))
        digest.update(part)
        if target.tell() > _MOST_BYTES:
            raise ValueError(f"the server sends more than {_MOST_BYTES >> 20:,} MiB, more than any weights have")
        if time.monotonic() - began > _SECONDS_IN_ALL:
            raise TimeoutError(f"after {_SECONDS_IN_ALL // 60:.0f} minutes only {target.tell() >> 20:,} MiB were there")
    return digest.hexdigest()


def _check(variant: NamedVariant, checkpoint: Checkpoint, address: str) -> None:
    """Finds out on the meta device, without computing anything, whether a file holds the variant's tensors."""
    try:
        with torch.device("meta"):
            assemble(variant.tagged_name, checkpoint)
    except CheckpointError as error:
        raise CheckpointError(f"The file from {address} is not the weights of {variant.name!r}. {error}") from error
