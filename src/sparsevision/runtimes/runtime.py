"""The libraries that run exported files, each behind the same few lines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from sparsevision.errors import CheckpointError, first_line, import_extra

Arrays = Sequence[NDArray[Any]]
DESCRIPTION, GRAPH = "sparsevision", "sparsevision_graph"  # keys of what a file carries


class Runtime(ABC):
    """An exported file that is open: `texts` are what it carries, by key."""

    title: ClassVar[str]
    texts: Mapping[str, str]

    @abstractmethod
    def __init__(self, path: Path, threads: int) -> None:
        """Opens a file; raises whatever the library does."""

    @abstractmethod
    def run(self, images: NDArray[Any]) -> Arrays:
        """Returns the outputs of a batch, in the graph's order."""

    @abstractmethod
    def prepare(self, shape: tuple[int, ...]) -> None:
        """Gets ready for many batches of one shape."""


class OnnxRuntime(Runtime):
    """A file that ONNX Runtime runs on the CPU."""

    title = "ONNX Runtime"

    def __init__(self, path: Path, threads: int) -> None:
        runtime = import_extra("onnxruntime", "Running an ONNX file")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        self.session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.texts = self.session.get_modelmeta().custom_metadata_map
        self.input = self.session.get_inputs()[0].name

    def run(self, images: NDArray[Any]) -> Arrays:
        """Returns the outputs of a batch, in the graph's order."""
        outputs: Arrays = self.session.run(None, {self.input: images})
        return outputs

    def prepare(self, shape: tuple[int, ...]) -> None:
        """Does nothing: a session runs every shape alike."""


class OpenVinoRuntime(Runtime):
    """A file that OpenVINO runs on the CPU, in the precision that it has: by itself it would take half where it can.

    A graph whose sides are open runs up to twice as fast once it is compiled for the images' shape, which takes as long
    as some images: it is done for shapes that come `OFTEN`, and the `MOST_FIXED` used last of these graphs are kept.
    """

    title = "OpenVINO"
    OFTEN: ClassVar[int] = 16
    MOST_FIXED: ClassVar[int] = 4
    MOST_SEEN: ClassVar[int] = 256

    def __init__(self, path: Path, threads: int) -> None:
        openvino = import_extra("openvino", "Running an OpenVINO file")
        self.core = openvino.Core()
        self.model = self.core.read_model(path)
        keys = (key for key in (DESCRIPTION, GRAPH) if self.model.has_rt_info([key]))
        self.texts = {key: str(self.model.get_rt_info([key]).astype(str)) for key in keys}
        self.settings = {
            "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY",
        }  # fmt: skip
        self.open = self.core.compile_model(self.model, "CPU", self.settings)
        self.seen: Counter[tuple[int, ...]] = Counter()
        self.fixed: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self.lock = Lock()

    def run(self, images: NDArray[Any]) -> Arrays:
        """Returns the outputs of a batch, in the graph's order; threads take turns."""
        with self.lock:
            compiled = self._compiled_for(images.shape)
            found = compiled(images)
            # Copies: the library's own memory is written again by the next call.
            return [np.array(found[output]) for output in compiled.outputs]

    def _compiled_for(self, shape: tuple[int, ...]) -> Any:
        if not self.model.is_dynamic():
            return self.open
        if shape not in self.fixed:
            if len(self.seen) > self.MOST_SEEN:
                self.seen.clear()
            self.seen[shape] += 1
            if self.seen[shape] < self.OFTEN:
                return self.open
            self._fix(shape)
        self.fixed.move_to_end(shape)
        return self.fixed[shape]

    def prepare(self, shape: tuple[int, ...]) -> None:
        """Compiles a graph of open sides for a shape, as if it had come often."""
        with self.lock:
            if self.model.is_dynamic() and shape not in self.fixed:
                self._fix(shape)

    def _fix(self, shape: tuple[int, ...]) -> None:
        model = self.model.clone()
        try:
            model.reshape(list(shape))
            self.fixed[shape] = self.core.compile_model(model, "CPU", self.settings)
        except RuntimeError:
            self.fixed[shape] = self.open  # which has done well so far
        if len(self.fixed) > self.MOST_FIXED:
            self.fixed.popitem(last=False)


RUNTIMES: Mapping[str, type[Runtime]] = {".onnx": OnnxRuntime, ".xml": OpenVinoRuntime}


def open_runtime(path: Path) -> Runtime:
    """Opens an exported file with as many threads as PyTorch has; raises CheckpointError for one that is damaged."""
    kind = RUNTIMES[path.suffix.lower()]
    if not path.is_file():
        raise CheckpointError(f"There is no file {str(path)!r}.")
    try:
        return kind(path, torch.get_num_threads())
    except Exception as error:
        if not is_of_runtime(error):
            raise
        raise CheckpointError(f"{kind.title} cannot open {str(path)!r}: {first_line(error)}.") from error


def is_of_runtime(error: Exception) -> bool:
    """Returns whether an error is one that the libraries raise; ONNX Runtime's own descend from Exception alone."""
    known = isinstance(error, (RuntimeError, ValueError, OSError, MemoryError))
    return known or type(error).__module__.startswith("onnxruntime")
