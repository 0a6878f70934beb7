"""The runtime that is fastest for a model on this machine: exported once, timed once, and kept."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from sparsevision.checkpoints.downloads import cache_folder
from sparsevision.checkpoints.identity import fingerprint
from sparsevision.errors import ConfigError, SparseVisionError
from sparsevision.export.exporting import ExportOptions, Progress, export_model
from sparsevision.export.formats import FORMATS, Format
from sparsevision.factory import identity_of, open_model
from sparsevision.files import replacing
from sparsevision.inference import Predictor
from sparsevision.runtimes import is_exported, open_exported

RuntimeName = Literal["pytorch", "auto", "onnxruntime", "openvino"]
# The package that runs a format's files; the file has the format's suffix.
_PACKAGES: Mapping[str, str] = {"onnxruntime": "onnx", "openvino": "openvino"}
PYTORCH = "PyTorch"
_CALLS = 5


@dataclass(frozen=True)
class Chosen:
    """What a model is to be run by: the `title` of a runtime, and its `file`, None for PyTorch.

    `reason` is the sentence where a runtime was asked for and PyTorch has to do.
    """

    title: str
    file: Path | None = None
    reason: str = ""


def choose_runtime(
    model: str, runtime: RuntimeName = "auto", *, controls: Mapping[str, Any] | None = None,
    progress: Progress = lambda what: None,
) -> Chosen:  # fmt: skip
    """Returns a runtime for a model, and the exported file in the cache, which is written where it is not yet there.

    "auto" times one image in PyTorch and in every runtime that is installed, the first time that it is asked on this
    machine with so many threads. Where a file would see images otherwise than the model does, PyTorch is taken.

    Args:
        model: a checkpoint's path, or a model's name.
        runtime: "auto", or one runtime.
        controls: values of the model's controls, which the file has fixed.
        progress: called with what is being done.

    Raises:
        ConfigError: the runtime is not installed, or the model cannot be exported.
    """
    if runtime == "pytorch":
        return Chosen(PYTORCH)
    if is_exported(model):
        raise ConfigError(f"{model!r} is exported already, and is run by its own runtime: omit the runtime.")
    made = open_model(model).eval()
    if reason := _only_in_pytorch(made):
        if runtime == "auto":
            return Chosen(PYTORCH, reason=reason)
        raise ConfigError(f"{reason} Export it with a size, and use the file.")
    key = fingerprint(made, sorted((controls or {}).items()), torch.__version__)
    folder = cache_folder() / "exports" / key
    make = partial(_file, made, folder, controls or {}, progress)
    if runtime != "auto":
        if find_spec(runtime) is None:
            raise ConfigError(f"{runtime} is not installed: install it, or choose another runtime.")
        way = FORMATS[_PACKAGES[runtime]]
        return Chosen(way.title, make(way))
    return _fastest(model, folder, made, make, progress)


def _only_in_pytorch(made: Any) -> str:
    """Returns the sentence where a file would not give the model's own results."""
    identity = identity_of(made)
    if identity is None or not hasattr(made, "controls"):
        return f"{type(made).__name__} is not one of this package's networks."
    view = identity.preprocessing
    if view.fit in ("whole", "short") and view.multiple == 1:
        return "The model sees whole images of any sides, and a file would see them at multiples of 32."
    return ""


def _file(made: nn.Module, folder: Path, controls: Mapping[str, Any], progress: Progress, way: Format) -> Path:
    """Returns the file of a format, exported and compared; raises ConfigError for one that is not the same."""
    path = folder / f"model{way.suffix}"
    if all(file.is_file() for file in way.files(path)):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    progress(f"exporting for {way.title}, once")
    draws = np.random.default_rng(0)
    image = draws.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    made_file = export_model(made, path, ExportOptions(format=way.name, controls=controls), images=[image])
    if made_file.agreement is None or not made_file.agreement.passes:
        for file in way.files(path):
            file.unlink()
        raise ConfigError(f"{way.title} does not give this model's results ({made_file.agreement}): use PyTorch.")
    return path


def _fastest(model: str, folder: Path, made: Any, make: Callable[[Format], Path], progress: Progress) -> Chosen:
    record = folder / f"fastest_{torch.get_num_threads()}.json"
    if not record.is_file():
        calls = dict(_calls(model, made, make))
        progress("timing one image")
        seconds = {name: _median(call) for name, call in calls.items()}
        with replacing(record) as part:
            part.write_text(json.dumps(seconds))
    known = json.loads(record.read_text())
    best = min(known, key=known.__getitem__)
    if best == PYTORCH:
        return Chosen(PYTORCH)
    way = FORMATS[best]
    return Chosen(way.title, make(way))


def _calls(model: str, made: Any, make: Callable[[Format], Path]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yields PyTorch with packed weights, and the formats whose runtime is installed and gives the same results."""
    predictor = Predictor(model, "cpu")
    images = torch.rand(1, *predictor.preprocessing.input_shape(getattr(made.config, "in_chans", 3)))
    yield PYTORCH, partial(_run, predictor.model, images)
    for package, name in _PACKAGES.items():
        if find_spec(package) is None:
            continue
        try:
            yield name, partial(_run, open_exported(make(FORMATS[name])), images)
        except SparseVisionError:
            continue  # a model that a format does not take is run by the others


def _run(model: nn.Module, images: Tensor) -> object:
    with torch.inference_mode():
        return model(images)


def _median(call: Callable[[], object]) -> float:
    call()
    found = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return statistics.median(found)
