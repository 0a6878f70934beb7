"""The state of a run in one file that is replaced whole: killed at any moment, the run resumes from the last one.

Everything lies in one safetensors file (tensors, and JSON in its header), so nothing in it can execute; one rename
makes it the current one, so that a complete state exists at any moment.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsevision.errors import CheckpointError, DataError, first_line
from sparsevision.files import replacing

FILE = "state.safetensors"


def write_state(folder: Path, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Replaces the state in a folder; raises DataError (the old state intact) when the disk refuses."""
    with writing(folder), replacing(folder / FILE) as part:
        save_file(_separate(tensors), part, metadata={"state": json.dumps(values)})


def state_exists(folder: Path) -> bool:
    """Returns whether a complete state lies in a folder."""
    return (folder / FILE).exists()


def read_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Reads (tensors, values) of the last complete state, None where there is none yet."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            values = json.loads((file.metadata() or {})["state"])
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, values
    except (SafetensorError, OSError, KeyError, ValueError):
        raise CheckpointError(
            f"{str(path)!r} is not a training state, or is damaged: start anew in another --out."
        ) from None


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Raises DataError, in one sentence, when a disk that is full or may not be written to refuses."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        told = f"{str(place)!r} cannot be written: {reason}. Free space or choose another --out, then --resume."
        raise DataError(told) from None


def _separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # safetensors refuses tensors that share memory (tied weights) and layouts that are not row-major.
    seen: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        pointer = tensor.untyped_storage().data_ptr() if tensor.numel() else 0
        separate[name] = tensor.clone() if pointer and pointer in seen else tensor
        seen.add(pointer)
    return separate


# ------------------------------------------------------------------------------------- what is put into the file


def module_tensors(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """Returns a module's weights under prefixed names."""
    return {f"{prefix}.{name}": tensor for name, tensor in module.state_dict().items()}


def restore_module(prefix: str, module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Loads a module's weights, strictly."""
    try:
        module.load_state_dict(part(prefix, tensors))
    except RuntimeError:
        sentence = "The state in the run folder belongs to another model: start anew in another --out."
        raise CheckpointError(sentence) from None


def part(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors under a prefix, without it."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def optimiser_tensors(optimiser: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Splits an optimiser's per-parameter state into tensors and plain values; groups follow from the recipe."""
    tensors, values = {}, {}
    for index, slots in optimiser.state_dict()["state"].items():
        for slot, value in slots.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{index}.{slot}"] = value
            else:
                values[f"{index}.{slot}"] = value
    return tensors, values


def restore_optimiser(optimiser: Optimizer, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Puts back what `optimiser_tensors` took out."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**part("optimiser", tensors), **values}.items():
        index, _, slot = key.partition(".")
        state.setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def random_state() -> dict[str, Any]:
    """Returns the state of every generator that a step may draw from, on this process."""
    _, words, position, gauss, cached = np.random.get_state(legacy=True)
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    tensors["numpy"] = torch.from_numpy(np.asarray(words).astype(np.int64))
    version, inner, following = random.getstate()
    tensors["python"] = torch.tensor(inner, dtype=torch.int64)
    values = {"numpy": [int(position), int(gauss), float(cached)], "python": [version, following]}
    return {"tensors": tensors, "values": values}


def restore_random_state(tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Puts every generator back where `random_state` found it."""
    torch.set_rng_state(tensors["torch"])
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])
    position, gauss, cached = values["numpy"]
    np.random.set_state(("MT19937", tensors["numpy"].numpy().astype(np.uint32), position, gauss, cached))
    version, following = values["python"]
    random.setstate((version, tuple(tensors["python"].tolist()), following))
