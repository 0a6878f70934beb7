"""Released weights: from the package or from where their authors put them, into a cache, checked before use."""

from __future__ import annotations

import http.client
import os
import shutil
import urllib.request
from importlib.resources import files
from pathlib import Path

import torch

from sparsevision import __version__
from sparsevision.checkpoints.assembly import assemble
from sparsevision.checkpoints.checkpoint import Checkpoint
from sparsevision.checkpoints.reading import read_checkpoint
from sparsevision.errors import CheckpointError
from sparsevision.files import replacing
from sparsevision.models.registry import NamedVariant, Weights

_SECONDS_WITHOUT_AN_ANSWER = 30


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
    try:
        with replacing(path) as part:
            _download(weights.location, part)
            _check(variant, read_checkpoint(part), weights.location)
    # An address that no server answers raises OSError, a broken answer HTTPException, a malformed address ValueError.
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise CheckpointError(
            f"The weights of {variant.name!r} could not be fetched ({reason}): get {weights.location} on a machine "
            f"that can, and put it at {path}."
        ) from error
    return path


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


def _download(address: str, target: Path) -> None:
    """Fetches a file with a progress bar on stderr; an answer shorter than announced is an error."""
    from rich.console import Console
    from rich.progress import wrap_file

    request = urllib.request.Request(address, headers={"User-Agent": f"sparsevision/{__version__}"})
    with urllib.request.urlopen(request, timeout=_SECONDS_WITHOUT_AN_ANSWER) as answer, target.open("wb") as file:
        total, name = int(answer.headers.get("Content-Length") or 0), address.rsplit("/", 1)[-1]
        with wrap_file(answer, total, description=name, console=Console(stderr=True)) as watched:
            shutil.copyfileobj(watched, file, 1 << 20)
        if file.tell() < total:
            raise http.client.IncompleteRead(b"", total - file.tell())


def _check(variant: NamedVariant, checkpoint: Checkpoint, address: str) -> None:
    """Finds out on the meta device, without computing anything, whether a file holds the variant's tensors."""
    try:
        with torch.device("meta"):
            assemble(variant.name, checkpoint)
    except CheckpointError as error:
        raise CheckpointError(f"The file from {address} is not the weights of {variant.name!r}. {error}") from error
