"""Files of weights into memory, whatever their layout, without executing anything that they hold."""

from __future__ import annotations

import json
import os
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sparsevision.checkpoints.checkpoint import CONFIG_FILE, METADATA_KEY, WEIGHTS_FILE, Checkpoint
from sparsevision.checkpoints.description import Description, parse_description
from sparsevision.checkpoints.layouts import OURS, detect_layout, layout_named, layouts, renamed_to_ours
from sparsevision.errors import CheckpointError, first_line
from sparsevision.models.registry import variant_named

# Keys under which training loops keep weights, the averaged ones first: models are evaluated with these.
_NESTED = ("model_ema", "model", "model_best", "state_dict")
# Prefixes that data parallelism and torch.compile put before every name.
_WRAPPERS = ("module.", "_orig_mod.")
_LARGEST_DESCRIPTION = 50_000_000


def read_checkpoint(source: str | os.PathLike[str] | Mapping[str, Any]) -> Checkpoint:
    """Reads weights in any known layout and gives the tensors our names.

    Args:
        source: a folder or a safetensors file of ours, or a run folder, of which best/ is taken; a .pth or .safetensors
            file, or a folder, in one of the layouts of other libraries; a training file (of
            which `model_ema` is taken, else `model`); or a state dict in memory in any of these.

    Raises:
        CheckpointError: the file does not exist, is damaged, would execute code, or holds no weights.
    """
    if isinstance(source, Mapping):
        return _checkpoint(_weights_of(source, "The state dict"), None, "the state dict")
    path = Path(source).expanduser()
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise CheckpointError(f"No checkpoint was found at {str(path)!r}: give a folder or a file of weights.")
    return _read_file(path)


def _read_folder(folder: Path) -> Checkpoint:
    if not (folder / WEIGHTS_FILE).exists() and (folder / "best").is_dir():
        folder = folder / "best"  # a run folder means its best weights
    weights, description = folder / WEIGHTS_FILE, folder / CONFIG_FILE
    if not weights.is_file() or not description.is_file():
        raise CheckpointError(
            f"The folder {str(folder)!r} lacks {WEIGHTS_FILE} or {CONFIG_FILE}, so it is not a checkpoint."
        )
    if description.stat().st_size > _LARGEST_DESCRIPTION:
        raise CheckpointError(f"{str(description)!r} is too large to describe a model.")
    try:
        text = description.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{str(description)!r} cannot be read ({first_line(error)}).") from error
    state, _ = _read_safetensors(weights)
    if (settings := _settings_of_others(text)) is not None:
        return _checkpoint(state, None, str(folder), settings)
    return _checkpoint(state, parse_description(text, str(description)), str(folder))


def _read_file(path: Path) -> Checkpoint:
    head = _first_bytes(path)
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{str(path)!r} is a Git LFS pointer, not the weights: run `git lfs pull` where it came from."
        )
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise CheckpointError(f"{str(path)!r} is a web page, not weights: download the file itself.")
    if path.suffix != ".safetensors" and head[8:9] != b"{":
        return _checkpoint(_weights_of(_read_pickle(path), repr(str(path))), None, str(path))
    state, metadata = _read_safetensors(path)
    text = metadata.get(METADATA_KEY)
    described = None if text is None else parse_description(text, str(path))
    return _checkpoint(_weights_of(state, repr(str(path))), described, str(path))


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise CheckpointError(f"{str(path)!r} cannot be read ({error.strerror}).") from error


def _checkpoint(
    state: Mapping[str, Tensor], described: Description | None, origin: str, settings: Mapping[str, Any] | None = None
) -> Checkpoint:
    # A description in our own format may be of any model; its names are ours as they stand.
    layout = OURS if described else detect_layout(state)
    named = renamed_to_ours(state, layout)
    tensors = {ours: tensor for ours, (_, tensor) in named.items()}
    originals = {ours: name for ours, (name, _) in named.items()}
    about: dict[str, Any] = {}
    known = layout_named(layout)
    if known is not None and known.describe is not None:
        stored = known.describe(tensors, settings or {}, origin)
        about = {"model_name": stored.name, "config": stored.config, "labels": stored.labels}
        about["preprocessing"] = variant_named(stored.name).preprocessing
    elif described is not None:
        shared = ("config", "labels", "preprocessing", "class_metadata")
        about = {"model_name": described.model, **{name: getattr(described, name) for name in shared}}
    return Checkpoint(layout=layout, state=tensors, origin=origin, original_names=originals, **about)


def _settings_of_others(text: str) -> Mapping[str, Any] | None:
    """Returns the content of a config.json that another library wrote beside one of the known layouts."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    known = isinstance(content, dict) and any(layout.has_settings(content) for layout in layouts())
    return content if known else None


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    _first_bytes(path)  # the library reports a file without permission as missing
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    # The library raises its own error for the header, and torch's or NumPy's for what the header claims.
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{str(path)!r} is not an intact safetensors file ({first_line(error)}).") from error


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        blocked = re.search(r"GLOBAL (\S+)", str(error))
        if blocked is None:
            raise CheckpointError(f"{str(path)!r} is not an intact file of weights.") from error
        raise CheckpointError(
            f"{str(path)!r} holds a Python object ({blocked[1]}) besides tensors and could execute code when read, so "
            "it was refused: if you trust its author, save its weights alone on a machine that may be lost, "
            "torch.save(torch.load(FILE, weights_only=False)['model'], 'weights.pth'), and give that file."
        ) from error
    # A damaged archive makes torch's reader raise nearly anything, from EOFError to UnicodeDecodeError.
    except Exception as error:
        raise CheckpointError(f"{str(path)!r} is not an intact file of weights ({first_line(error)}).") from error


def _weights_of(content: Any, what: str) -> dict[str, Tensor]:
    """Finds the state dict in what a file held, and takes the prefixes of wrappers off its names."""
    if isinstance(content, Mapping):
        for key in _NESTED:
            if isinstance(content.get(key), Mapping) and content[key]:
                return _weights_of(content[key], what)
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{what} holds no weights: expected tensors by name, or a training file with 'model'.")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{what} is not a state dict: its entry {str(name)[:80]!r} is of type {type(tensor).__name__}, not a "
                "tensor."
            )
    state = dict(content)
    for prefix in _WRAPPERS * 2:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state
