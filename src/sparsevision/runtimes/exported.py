"""An exported file as a model: it carries its identity, and is called as the network that it was made of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from sparsevision.checkpoints.description import parse_description
from sparsevision.checkpoints.identity import Identity
from sparsevision.errors import CheckpointError, ConfigError, first_line
from sparsevision.runtimes.runtime import DESCRIPTION, GRAPH, RUNTIMES, Arrays, Runtime, is_of_runtime, open_runtime
from sparsevision.runtimes.structure import LENGTH, unflatten
from sparsevision.types import ClassMetadata, Control, Trace

_Sides = tuple[Annotated[int, Field(gt=0)], ...]


class Axis(NamedTuple):
    """One axis of a graph's input."""

    size: int
    open: bool
    multiple: int
    least: int

    def takes(self, size: int) -> bool:
        """Returns whether a batch may have this size there."""
        return size >= self.least and size % self.multiple == 0 if self.open else size == self.size

    def __str__(self) -> str:
        if not self.open:
            return str(self.size)
        return "any" if self.multiple == 1 else f"a multiple of {self.multiple} from {self.least}"


class GraphDescription(BaseModel):
    """What a graph takes and returns, which an exported file carries beside the description of its model.

    `shape` is that of the images, (B, C, H, W) or (B, C, T, H, W), where `open_axes` may differ from it; open sides are
    multiples of `multiple`, and at least `least`. `outputs` are the names of what it returns, in order, and `structure`
    how to put the output of the network together from them, whose `kind` is the network's; `observations` the same for
    each kind and stage of a trace. `controls` are the values that the network was exported with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: _Sides
    open_axes: tuple[int, ...] = ()
    multiple: Annotated[int, Field(gt=0)] = 1
    least: Annotated[int, Field(gt=0)] = 1
    outputs: tuple[str, ...]
    structure: dict[str, Any]
    kind: Literal["classes", "embedding"] = "classes"
    observations: dict[str, dict[str, Any]] = {}
    controls: dict[str, float | str] = {}
    precision: str = "fp32"

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes of the images that the graph takes."""
        first_side = len(self.shape) - 2
        bounds = ((1, 1) if axis < first_side else (self.multiple, self.least) for axis in range(len(self.shape)))
        return tuple(
            Axis(size, axis in self.open_axes, *bound)
            for axis, (size, bound) in enumerate(zip(self.shape, bounds, strict=True))
        )


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path is named as exported files are."""
    return Path(path).suffix.lower() in RUNTIMES


def open_exported(path: str | os.PathLike[str]) -> ExportedModel:
    """Opens an exported file; raises CheckpointError for one that `sparsevision export` did not write."""
    return ExportedModel(Path(path))


class ExportedModel(nn.Module):
    """A network that ONNX Runtime or OpenVINO runs, on the CPU and for predicting only.

    It has no parameters here, and nothing of it may be chosen per call: its controls have the values of the export.
    """

    controls: ClassVar[Mapping[str, Control]] = {}
    place: Tensor

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.files = (path, path.with_suffix(".bin")) if path.suffix.lower() == ".xml" else (path,)
        self.runtime: Runtime = open_runtime(path)
        texts = self.runtime.texts
        if DESCRIPTION not in texts or GRAPH not in texts:
            raise CheckpointError(f"{str(path)!r} was not written by `sparsevision export`: it describes no model.")
        described = parse_description(texts[DESCRIPTION], str(path))
        try:
            self.graph = GraphDescription.model_validate_json(texts[GRAPH])
        except ValidationError as error:
            raise CheckpointError(
                f"The description of the graph in {str(path)!r} is damaged: {first_line(error)}"
            ) from error
        self.outputs = self.graph.kind
        self.num_classes = int(described.config.get("num_classes", 0))
        self.identity = Identity(
            name=described.model, preprocessing=described.preprocessing, labels=described.labels,
            class_metadata=described.class_metadata or ClassMetadata(),
        )  # fmt: skip
        # Stands for the weights where a model is asked for its device and precision.
        self.register_buffer("place", torch.zeros(()), persistent=False)

    @property
    def traces(self) -> tuple[str, ...]:
        """The kinds of observations that the graph returns."""
        return tuple(self.graph.observations)

    def __reduce__(self) -> Any:
        return partial(ExportedModel, self.path), ()

    def _apply(self, fn: Any, recurse: bool = True) -> ExportedModel:
        moved = fn(self.place)
        if moved.device.type != "cpu" or moved.dtype != torch.float32:
            raise ConfigError(f"{self.path.name} runs on the CPU and takes fp32: omit the device and the precision.")
        return self

    @torch.no_grad()
    def forward(self, images: Tensor, *, trace: Trace | None = None) -> Any:
        """Runs a batch; a file with a fixed number of images a call runs as many at once."""
        graph = self.graph
        self._check(tuple(images.shape))
        parts = (images,) if 0 in graph.open_axes else images.split(graph.shape[0])
        found = [self._run(part) for part in parts]
        tensors = {
            name: torch.from_numpy(arrays[0] if name.endswith(LENGTH) else np.concatenate(arrays))
            for name, arrays in zip(graph.outputs, zip(*found, strict=True), strict=True)
        }
        for kind, stages in graph.observations.items():
            for stage, structure in stages.items():
                # Of an unknown kind there is no trace to put it into.
                if trace is not None and kind in trace.kinds:
                    trace.record(stage, unflatten(structure, tensors))
        return unflatten(graph.structure, tensors)

    def _run(self, images: Tensor) -> Arrays:
        try:
            return self.runtime.run(images.contiguous().numpy())
        except Exception as error:
            if not is_of_runtime(error):
                raise
            # Of graphs whose sides are open, some cannot do with the few tokens of a small image.
            raise ConfigError(
                f"{self.runtime.title} cannot run {self.path.name} on images of shape {tuple(images.shape)} "
                f"({first_line(error)}): give larger images, or export the model for one --size."
            ) from error

    def _check(self, shape: tuple[int, ...]) -> None:
        """Raises ConfigError for a batch that the graph does not take."""
        wanted = self.graph.axes
        fits = len(shape) == len(wanted) and (wanted[0].open or shape[0] % wanted[0].size == 0)
        if not fits or not all(map(Axis.takes, wanted[1:], shape[1:])):
            raise ConfigError(
                f"{self.path.name} takes images of shape ({', '.join(map(str, wanted))}), not "
                f"({', '.join(map(str, shape))}): export the model for this size, or with --dynamic."
            )
