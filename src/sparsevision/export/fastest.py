"""The runtime that is fastest for a model on this machine: exported once, timed once, and kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from sparsevision.checkpoints.downloads import cache_folder
from sparsevision.checkpoints.identity import fingerprint
from sparsevision.errors import ConfigError, SparseVisionError
from sparsevision.export.exporting import ExportOptions, Progress, export_model
from sparsevision.export.formats import FORMATS, Format
from sparsevision.export.support import may_be_open, sees_any_sides
from sparsevision.factory import identity_of, open_model
from sparsevision.files import replacing
from sparsevision.inference import Predictor
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.speed import Settings, after_rest, time_interleaved
from sparsevision.runtimes import is_exported, open_exported

RuntimeName = Literal["pytorch", "auto", "onnxruntime", "openvino"]
# The package that runs a format's files; the file has the format's suffix.
_PACKAGES: Mapping[str, str] = {"onnxruntime": "onnx", "openvino": "openvino"}
PYTORCH = "PyTorch"
_TURNS, _REST = Settings(rounds=5, warmup=1, turn_seconds=0), 0.2  # seconds


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

    "auto" times one image in PyTorch and in every runtime that is installed, taking turns, the first time that it is
    asked on this machine with so many threads and these packages. Where a file would see images otherwise than the
    model does, PyTorch is taken.

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
    key = fingerprint(made, sorted((controls or {}).items()), torch.__version__, version("sparsevision"))
    folder = cache_folder() / "exports" / key
    make = partial(_file, made, folder, controls or {}, progress)
    if runtime != "auto":
        if find_spec(runtime) is None:
            raise ConfigError(f"{runtime} is not installed: install it, or choose another runtime.")
        way = FORMATS[_PACKAGES[runtime]]
        return Chosen(way.title, make(way))
    return _fastest(model, folder, make, progress)


def _only_in_pytorch(made: Any) -> str:
    """Returns the sentence where a file would not give the model's own results."""
    identity = identity_of(made)
    if identity is None or not hasattr(made, "controls"):
        return f"{type(made).__name__} is not one of this package's networks."
    view = identity.preprocessing
    if view.frames is not None:
        return "A model of videos is run by PyTorch alone."
    if sees_any_sides(view) and not may_be_open(view, made.config):
        return "The model sees whole images of any sides, and a file would see them all at one size."
    if sees_any_sides(view) and view.multiple == 1:
        return "The model sees whole images of any sides, and a file would see them at multiples of 32."
    return ""


def _file(made: nn.Module, folder: Path, controls: Mapping[str, Any], progress: Progress, way: Format) -> Path:
    """Returns the file of a format, which is in the cache once it was compared; raises ConfigError for another one."""
    path = folder / way.name / f"model{way.suffix}"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    progress(f"exporting for {way.title}, once")
    with TemporaryDirectory(dir=folder) as place:
        options = ExportOptions(format=way.name, controls=controls)
        done = export_model(made, Path(place) / path.name, options, images=[_noise()])
        if done.agreement is None or not done.agreement.passes:
            raise ConfigError(f"{way.title} does not give this model's results ({done.agreement}): use PyTorch.")
        # Another process may have been faster, and its files are as good.
        with contextlib.suppress(OSError):
            os.rename(place, path.parent)
    return path


def _noise() -> np.ndarray:
    """Returns an image of which only the size matters."""
    return np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)


def _fastest(model: str, folder: Path, make: Callable[[Format], Path], progress: Progress) -> Chosen:
    """Reads which way was the fastest, or finds it out: anew on another processor, or with other packages."""
    installed = [package for package in _PACKAGES if find_spec(package) is not None]
    around = (str(describe_machine()), torch.get_num_threads(), [(each, version(each)) for each in installed])
    record = folder / f"fastest_{hashlib.sha256(repr(around).encode()).hexdigest()[:16]}.json"
    if not record.is_file():
        calls = dict(_calls(model, [FORMATS[_PACKAGES[each]] for each in installed], make))
        progress("timing one image")
        times = time_interleaved(calls, _TURNS, prepare=after_rest(calls, _REST))
        with replacing(record) as part:
            part.write_text(json.dumps({name: statistics.median(seconds) for name, seconds in times.items()}))
    known = json.loads(record.read_text())
    best = min(known, key=known.__getitem__)
    if best == PYTORCH:
        return Chosen(PYTORCH)
    way = FORMATS[best]
    return Chosen(way.title, make(way))


def _calls(
    model: str, ways: Sequence[Format], make: Callable[[Format], Path]
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yields PyTorch with packed weights, and the formats that give the same results."""
    predictor = Predictor(model, "cpu")
    images = predictor.batch([predictor.reader(_noise(), 0)]).images
    yield PYTORCH, partial(_run, predictor.model, images)
    for way in ways:
        try:
            exported = open_exported(make(way))
            exported.runtime.prepare(tuple(images.shape))  # as in a run of many images
            call = partial(_run, exported, images)
            call()
        except SparseVisionError:
            continue  # a model that a format does not take is run by the others
        yield way.name, call


def _run(model: nn.Module, images: Tensor) -> object:
    with torch.inference_mode():
        return model(images)
