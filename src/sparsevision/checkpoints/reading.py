"""Files of weights into memory, whatever their layout, without executing anything that they hold."""

from __future__ import annotations

import json
import os
import pickle
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sparsevision.checkpoints.checkpoint import CONFIG_FILE, METADATA_KEY, WANTED, WEIGHTS_FILE, Checkpoint
from sparsevision.checkpoints.description import Description, parse_description
from sparsevision.checkpoints.layouts import OTHER, OURS, detect_layout, layout_named, layouts, renamed_to_ours
from sparsevision.checkpoints.pickles import check_pickles
from sparsevision.errors import CheckpointError, first_line
from sparsevision.models.registry import variant_named

# Keys under which training loops keep weights, the averaged ones first: models are evaluated with these.
_NESTED = (
    "model_ema", "state_dict_ema", "ema_state_dict", "ema_model", "ema", "model", "model_best", "state_dict",
    "model_state_dict", "model_state", "net", "network", "weights", "module",
)  # fmt: skip
# Parts of names before those of the network in what holds one: a wrapper, or a module of a training loop.
_USUAL = {"module", "_orig_mod", "model", "net", "network"}
_MOST_PREFIXES, _DEEPEST_PREFIX = 16, 3
_LARGEST_DESCRIPTION = 4_000_000
_DEEPEST = 16  # dictionaries around the weights


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
    if text is not None and len(text) > _LARGEST_DESCRIPTION:
        raise CheckpointError(f"The description in {str(path)!r} is too large for one of a model.")
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
        with _utf8(path) as named, safe_open(named, framework="pt", device="cpu") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    # The library raises its own error for the header, and torch's or NumPy's for what the header claims.
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{str(path)!r} is not an intact safetensors file ({first_line(error)}).") from error


@contextmanager
def _utf8(path: Path) -> Iterator[Path]:
    """Yields a path that is UTF-8, as the library takes it: a temporary link to one that is not."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder, WEIGHTS_FILE)
            link.symlink_to(path.resolve())
            yield link
    else:
        yield path


def _read_pickle(path: Path) -> Any:
    check_pickles(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        blocked = re.search(r"GLOBAL (\S+)", str(error))
        if blocked is None:
            raise CheckpointError(f"{str(path)!r} is not an intact file of weights: {WANTED}.") from error
        raise CheckpointError(
            f"{str(path)!r} holds a Python object ({blocked[1]}) besides tensors and could execute code when read, so "
            "it was refused: if you trust its author, save its weights alone on a machine that may be lost, "
            "torch.save(torch.load(FILE, weights_only=False)['model'], 'weights.pth'), and give that file."
        ) from error
    # A damaged archive makes torch's reader raise nearly anything, from EOFError to UnicodeDecodeError.
    except Exception as error:
        # What its own reader says of an archive helps; what Python's says of other files does not.
        reason = f" ({first_line(error)})" if isinstance(error, RuntimeError) else ""
        raise CheckpointError(f"{str(path)!r} is not an intact file of weights{reason}: {WANTED}.") from error


def _weights_of(content: Any, what: str, depth: int = 0) -> dict[str, Tensor]:
    """Finds the state dict in what a file held, and takes the prefixes of what holds the network off its names."""
    if depth > _DEEPEST:
        raise CheckpointError(f"{what} nests dictionaries more than {_DEEPEST} deep: give the innermost one alone.")
    if isinstance(content, Mapping):
        nested = [content[key] for key in _NESTED if isinstance(content.get(key), Mapping) and content[key]]
        if nested:
            return _weights_of(next(filter(_holds_tensors, nested), nested[0]), what, depth + 1)
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{what} holds no weights: expected tensors by name, or a training file with 'model'.")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{what} is not a state dict: its entry {str(name)[:80]!r} is of type {type(tensor).__name__}, not a "
                "tensor."
            )
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
            raise CheckpointError(f"{name[:80]!r} in {what} is sparse, quantised or nested: save it as a dense tensor.")
    return _without_prefix(dict(content))


def _holds_tensors(content: Mapping[Any, Any]) -> bool:
    """Returns whether a part of a file has tensors in it, or a part of its own that may."""
    return any(isinstance(each, Tensor) for each in content.values()) or any(map(content.__contains__, _NESTED))


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors of a known layout among those of a whole training loop, averaged ones where there are such.

    They have names as "module.", "_orig_mod." or "model." before their own. Where no layout is known, such a prefix is
    taken off if all names have it.
    """
    if detect_layout(state) != OTHER:
        return state
    parts = [name.split(".") for name in state]
    found = Counter(
        ".".join(each[:depth]) + "." for each in parts for depth in range(1, min(len(each), _DEEPEST_PREFIX + 1))
    )
    likely = sorted(found, key=lambda prefix: ("ema" not in prefix, -found[prefix], len(prefix)))[:_MOST_PREFIXES]
    for prefix in likely:
        below = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        if detect_layout(below) != OTHER:
            return below
    usual = (prefix for prefix in likely if found[prefix] == len(state) and {*prefix[:-1].split(".")} <= _USUAL)
    longest = max(usual, key=len, default="")
    return {name.removeprefix(longest): tensor for name, tensor in state.items()}
