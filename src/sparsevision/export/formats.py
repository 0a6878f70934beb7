"""The formats that a traced graph is written in."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from numpy.typing import NDArray

from sparsevision.errors import ConfigError, MissingExtraError, first_line
from sparsevision.export.graph import TracedGraph
from sparsevision.export.web.page import MODEL, PAGE_FILES, page_of, write_page
from sparsevision.files import replacing
from sparsevision.models.registry import variant_named
from sparsevision.runtimes.runtime import OnnxRuntime, OpenVinoRuntime

OPSET = 20
INPUT = "images"


_TO_ONNX = ("onnx", "onnxscript", "onnxruntime")


class Precision(NamedTuple):
    """The precision of a file: its name, and the batches of images by which the ranges for eight bits are found."""

    name: str = "fp32"
    calibration: Sequence[NDArray[Any]] = ()


class Format(ABC):
    """A format: its name, its suffix, which package reads it, and the precisions that it is written in."""

    name: ClassVar[str]
    suffix: ClassVar[str]
    title: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    in_blocks: ClassVar[bool] = True  # how it takes images of open sides while it is traced
    traced: ClassVar[bool] = False  # whether the graph returns what the network looked at, asked for or not
    packages: ClassVar[tuple[str, ...]] = ()  # that are needed to write and compare it

    @abstractmethod
    def write(self, graph: TracedGraph, texts: Mapping[str, str], path: Path, precision: Precision) -> None:
        """Writes a graph and the texts that it carries; the file appears when it is complete."""

    def check_installed(self, precision: str) -> None:
        """Raises MissingExtraError where a package is missing."""
        for package in (*self.packages, *(["nncf"] if precision == "int8" else [])):
            if find_spec(package) is None:
                raise MissingExtraError(package, f"Exporting for {self.title}")

    def check(self, model: str, labels: Sequence[str] | None) -> None:
        """Raises ConfigError for a named model, with its labels, that the format is not for."""
        return

    def files(self, path: Path) -> tuple[Path, ...]:
        """Returns the files that are written for a path."""
        return (path,)

    def graph_file(self, path: Path) -> Path:
        """Returns the one of them that holds the graph."""
        return path


class Onnx(Format):
    """One file for ONNX Runtime."""

    name, suffix, title = "onnx", ".onnx", OnnxRuntime.title
    packages = _TO_ONNX

    def write(self, graph: TracedGraph, texts: Mapping[str, str], path: Path, precision: Precision) -> None:
        """Writes one .onnx file."""
        with replacing(path) as part:
            write_onnx(graph, texts, part)


class OpenVino(Format):
    """An .xml file and its weights in a .bin file beside it; weights in half precision, or all in eight bits."""

    name, suffix, title, precisions = "openvino", ".xml", OpenVinoRuntime.title, ("fp32", "fp16", "int8")
    packages = ("onnx", "onnxscript", "openvino")

    def write(self, graph: TracedGraph, texts: Mapping[str, str], path: Path, precision: Precision) -> None:
        """Writes an .xml file and a .bin file."""
        import openvino

        # By way of ONNX, which takes seconds; from the traced graph itself it takes minutes.
        with replacing(path.with_suffix(".bin")) as weights, replacing(path) as part:
            through = part.with_suffix(".onnx")
            try:
                write_onnx(graph, {}, through)
                model = _converted(through)
                if precision.name == "int8":
                    model = _in_eight_bits(model, precision.calibration)
                for key, text in texts.items():
                    model.set_rt_info(text, [key])
                openvino.save_model(model, part, compress_to_fp16=precision.name == "fp16")
                part.with_suffix(".bin").replace(weights)
            finally:
                through.unlink(missing_ok=True)

    def check(self, model: str, labels: Sequence[str] | None) -> None:
        """Raises ConfigError for a model of videos: the sampling between frames has no operator in OpenVINO."""
        if variant_named(model).preprocessing.frames is not None:
            raise ConfigError(f"{model!r} samples between the frames of a video, which OpenVINO cannot: choose onnx.")

    def files(self, path: Path) -> tuple[Path, ...]:
        """Returns the .xml and the .bin file."""
        return (path, path.with_suffix(".bin"))


class Program(Format):
    """The traced graph as torch.export keeps it, for programs in PyTorch."""

    name, suffix, title = "pt2", ".pt2", "torch.export"
    in_blocks = False

    def write(self, graph: TracedGraph, texts: Mapping[str, str], path: Path, precision: Precision) -> None:
        """Writes one .pt2 file."""
        with replacing(path) as part:
            torch.export.save(graph.program, part, extra_files=dict(texts))


class Web(Format):
    """A folder with a page that runs the model in a browser; it is made of an ONNX file and scripts."""

    name, suffix, title = "web", "", "browsers"
    traced, packages = True, _TO_ONNX

    def write(self, graph: TracedGraph, texts: Mapping[str, str], path: Path, precision: Precision) -> None:
        """Writes the folder."""
        write_page(path, texts, lambda part: write_onnx(graph, texts, part))

    def check(self, model: str, labels: Sequence[str] | None) -> None:
        """Raises ConfigError for a model that a page could show nothing of."""
        page_of(model, labels)

    def files(self, path: Path) -> tuple[Path, ...]:
        """Returns the files of the folder."""
        return tuple(path / name for name in PAGE_FILES)

    def graph_file(self, path: Path) -> Path:
        """Returns the ONNX file in the folder."""
        return path / MODEL


FORMATS: Mapping[str, Format] = {each.name: each for each in (Onnx(), OpenVino(), Program(), Web())}


def _in_eight_bits(model: Any, calibration: Sequence[NDArray[Any]]) -> Any:
    """Quantises weights and activations of an OpenVINO model by NNCF, for which attention is a pattern to spare."""
    with _quietly():
        import nncf

        nncf.set_log_level(logging.ERROR)
        return nncf.quantize(
            model, nncf.Dataset(calibration), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(calibration)
        )


def _converted(path: Path) -> Any:
    """Reads an ONNX file as OpenVINO's model; raises ConfigError where it has operators that OpenVINO lacks."""
    import openvino
    from openvino import frontend

    failures: Any = (frontend.OpConversionFailure, frontend.OpValidationFailure, frontend.GeneralFailure, RuntimeError)
    try:
        return openvino.convert_model(path)
    except failures as error:
        reason = str(error).strip().rpartition("\n")[2].strip("- .")
        raise ConfigError(f"OpenVINO cannot read this model ({reason}): choose another format.") from error


def write_onnx(graph: TracedGraph, texts: Mapping[str, str], path: Path) -> None:
    """Writes a graph as ONNX, weights included."""
    try:
        with _quietly():
            made: Any = torch.onnx.export(
                graph.program, dynamo=True, opset_version=OPSET, input_names=[INPUT], output_names=list(graph.outputs),
                verbose=False,
            )  # fmt: skip
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise ConfigError(f"PyTorch cannot write this model as ONNX: {first_line(error)}.") from error
    made.model.metadata_props.update(texts)
    made.save(path, external_data=False)
    if len(made.model.graph.inputs[0].shape) == 6:
        import onnx

        model = onnx.load(path)
        _take_whole_images(model, onnx)
        onnx.save(model, path)


def _take_whole_images(model: Any, onnx: Any) -> None:
    """Puts a reshape before a graph that takes images in blocks (B, C, h, m, w, m), so that it takes (B, C, H, W)."""
    graph, helper = model.graph, onnx.helper
    first = graph.input[0]
    batch, channels, _, multiple = (axis.dim_param or axis.dim_value for axis in first.type.tensor_type.shape.dim[:4])
    first.name = f"{INPUT}_in_blocks"
    for node in graph.node:
        node.input[:] = [first.name if name == INPUT else name for name in node.input]
    numbers = {"ones": [1, 1, multiple, multiple], "multiple": [multiple], "zero": [0], "three": [3], "four": [4]}
    constants = {name: f"{INPUT}_{name}" for name in numbers}
    for name, values in numbers.items():
        graph.initializer.append(helper.make_tensor(constants[name], onnx.TensorProto.INT64, [len(values)], values))
    steps = [
        ("Shape", [INPUT], "sides"),
        ("Div", ["sides", constants["ones"]], "counts"),
        ("Slice", ["counts", constants["zero"], constants["three"]], "first_counts"),
        ("Slice", ["counts", constants["three"], constants["four"]], "last_count"),
        ("Concat", ["first_counts", constants["multiple"], "last_count", constants["multiple"]], "blocks"),
        ("Reshape", [INPUT, "blocks"], first.name),
    ]
    names = {name: f"{INPUT}_{name}" for _, _, name in steps[:-1]}
    for place, (kind, inputs, output) in enumerate(steps):
        more = {"axis": 0} if kind == "Concat" else {}
        made = helper.make_node(kind, [names.get(each, each) for each in inputs], [names.get(output, output)], **more)
        graph.node.insert(place, made)
    whole = helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, [batch, channels, "height", "width"])
    del graph.input[0]
    graph.input.insert(0, whole)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keeps a library's own account of its steps from the console."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
