"""Export of a trained model: traced, written, opened again and compared with PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsevision.checkpoints.description import format_description
from sparsevision.checkpoints.identity import config_of
from sparsevision.data.preprocessing import LEAST_MULTIPLES
from sparsevision.errors import ConfigError
from sparsevision.export.agreement import Agreement, compare
from sparsevision.export.formats import FORMATS, Format, Precision
from sparsevision.export.graph import MULTIPLE, TracedGraph, trace_graph
from sparsevision.export.support import may_be_open, precisions_of, sees_any_sides
from sparsevision.factory import identity_of, open_model
from sparsevision.inference import Predictor
from sparsevision.inference.options import checked_options
from sparsevision.runtimes import GraphDescription, is_exported, open_exported
from sparsevision.runtimes.runtime import DESCRIPTION, GRAPH
from sparsevision.runtimes.structure import unflatten
from sparsevision.types import Preprocessing, TraceKind
from sparsevision.wording import count_of

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How a model is exported.

    Args:
        format: one of `FORMATS`.
        size: (height, width) of the images; by default the model's own. Where the model sees whole images of any shape,
            a size makes it see them stretched to it.
        dynamic: images of any sides that are multiples of 32; by default where the model sees whole images.
        batch: images a call; by default any number.
        trace: the graph also returns what the network looked at.
        precision: of the weights in the file.
        controls: values of the network's controls, which are fixed by the export.
    """

    format: str = "onnx"
    size: tuple[int, int] | None = None
    dynamic: bool | None = None
    batch: int | None = None
    trace: bool = False
    precision: str = "fp32"
    controls: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export made: its `files`, how images are seen, and how it agrees with PyTorch (None: not compared).

    `remark` is a sentence where images are seen otherwise than by the model that was exported.
    """

    files: tuple[Path, ...]
    preprocessing: Preprocessing
    graph: GraphDescription
    agreement: Agreement | None
    remark: str = ""


def export_model(
    model: str | os.PathLike[str] | nn.Module, path: str | os.PathLike[str], options: ExportOptions | None = None, *,
    images: Sequence[Any] = (), calibration: Sequence[Any] = (), progress: Progress = lambda what: None,
) -> Exported:  # fmt: skip
    """Writes a model for another runtime and compares the file with PyTorch.

    Args:
        model: a checkpoint's path, or a model's name, whose published weights are taken; or a model in memory, which is
            left in evaluation mode.
        path: of the file.
        options: how it is exported.
        images: what `Predictor` takes, to compare with.
        calibration: the same, by which the ranges of int8 are found; some 100 of those that the model is for.
        progress: called with what is being done.

    Raises:
        ConfigError: the model cannot be exported so.
        CheckpointError: the weights are missing or damaged.
    """
    options = options or ExportOptions()
    way, path = _format(options, calibration), Path(path)
    if not isinstance(model, nn.Module):
        if is_exported(model):
            raise ConfigError(f"{os.fspath(model)!r} is exported already: give the weights that it was made of.")
        progress("opening the model")
        model = open_model(model)
    made = model.eval()
    identity = identity_of(made)
    if identity is None or not hasattr(made, "controls"):
        raise ConfigError(f"{type(made).__name__} is not one of this package's networks: timm exports its own.")
    way.check_installed(options.precision)
    way.check(identity.name, identity.labels)
    if options.precision not in precisions_of(way, identity.name):
        raise ConfigError(
            f"{identity.name!r} is not written in int8 as {way.name}: that it is 1.3 times as fast for at most one "
            "point of its score has not been shown. Choose fp32 or fp16."
        )
    controls = checked_options(made, options.controls)
    preprocessing, open_axes = _view(identity.preprocessing, made.config, options)
    shape = (options.batch or 1, *preprocessing.input_shape(getattr(made.config, "in_chans", 3)))
    kinds: tuple[TraceKind, ...] = tuple(getattr(made, "traces", ())) if options.trace or way.traced else ()
    least = preprocessing.multiple * (LEAST_MULTIPLES if preprocessing.multiple > 1 else 1)
    progress("tracing")
    traced = trace_graph(made, shape, open_axes=open_axes, controls=controls, kinds=kinds, blocks=way.in_blocks)
    graph = GraphDescription(
        shape=shape, open_axes=open_axes, multiple=preprocessing.multiple, least=least, outputs=traced.outputs,
        structure=traced.structure, kind=getattr(made, "outputs", "classes"), observations=traced.observations,
        controls=controls, precision=options.precision,
    )  # fmt: skip
    texts = {
        DESCRIPTION: format_description(
            identity.name, config_of(made), preprocessing, identity.labels, identity.class_metadata
        ),
        GRAPH: graph.model_dump_json(),
    }
    progress(f"writing {path.name}")
    reference = Predictor(made, "cpu", preprocessing=preprocessing)
    way.write(traced, texts, path, Precision(options.precision, _arrays(reference, calibration, options)))
    agreement = None
    if images:
        progress(f"comparing {count_of(len(images), 'image')}")
        run = _runner(way.graph_file(path), traced, graph)
        agreement = compare(reference, run, images, controls=controls, precision=options.precision)
    return Exported(
        files=way.files(path), preprocessing=preprocessing, graph=graph, agreement=agreement,
        remark=_remark(identity.preprocessing, preprocessing),
    )  # fmt: skip


def _arrays(reference: Predictor, images: Sequence[Any], options: ExportOptions) -> list[NDArray[Any]]:
    """Returns images as batches for calibration, as many at once as the file takes."""
    if options.precision != "int8":
        return []
    samples = [reference.reader(image, position) for position, image in enumerate(images)]
    size = options.batch or 1
    return [
        reference.batch(samples[first : first + size]).images.numpy()
        for first in range(0, len(samples) - size + 1, size)
    ]


def _format(options: ExportOptions, calibration: Sequence[Any]) -> Format:
    way = FORMATS[options.format]
    if options.precision not in way.precisions:
        raise ConfigError(
            f"The format {way.name} is not written in {options.precision}: choose {' or '.join(way.precisions)}."
        )
    if options.precision == "int8" and len(calibration) < (options.batch or 1):
        raise ConfigError(
            f"int8 is fitted to images, and {len(calibration)} do not make a batch: give some 100 of those that the "
            "model is for, for calibration."
        )
    if options.size is not None and options.dynamic:
        raise ConfigError("size fixes the sides of the images, and dynamic leaves them open: give one of the two.")
    return way


def _view(preprocessing: Preprocessing, config: Any, options: ExportOptions) -> tuple[Preprocessing, tuple[int, ...]]:
    """Returns how the exported model sees images, and the axes of its input that are left open."""
    whole, may = sees_any_sides(preprocessing), may_be_open(preprocessing, config)
    if options.dynamic and not may:
        what = "whose backbone divides maps into windows is exported for images"
        what = "of videos is exported for clips" if preprocessing.frames is not None else what
        raise ConfigError(f"A model {what} of one size: omit dynamic.")
    dynamic = options.dynamic if options.dynamic is not None else may and whole and options.size is None
    axes = () if options.batch else (0,)
    if dynamic:
        return replace(preprocessing, multiple=MULTIPLE), (*axes, 2, 3)
    size = options.size or preprocessing.size
    return replace(preprocessing, size=size, fit="stretch" if whole else preprocessing.fit), axes


def _remark(before: Preprocessing, after: Preprocessing) -> str:
    if not sees_any_sides(before) or before == after:
        return ""
    seen = f"resized to multiples of {after.multiple} pixels"
    if after.fit == "stretch":
        seen = f"stretched to {after.size[0]} x {after.size[1]} pixels"
    return f"The file sees images {seen}, and the model in PyTorch does not: evaluate the file before you rely on it."


def _runner(path: Path, traced: TracedGraph, graph: GraphDescription) -> Callable[[Tensor], Any]:
    """Returns the file as a function, as its user will run it."""
    if is_exported(path):
        return open_exported(path)
    program: nn.Module = torch.export.load(path).module()
    return lambda images: unflatten(graph.structure, dict(zip(graph.outputs, program(images), strict=True)))
