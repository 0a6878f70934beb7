"""A network as a function from images to named tensors, traced by torch.export."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from sparsevision.data.preprocessing import LEAST_MULTIPLES
from sparsevision.errors import ConfigError, first_line
from sparsevision.runtimes.structure import flatten, renamed
from sparsevision.types import Trace, TraceKind

# A convolutional network halves the sides five times. Sides of which that leaves nothing over keep the graph's sizes
# free of rounding, whose products torch.export does not get through.
MULTIPLE = 32
_LARGEST_SIDE, _LARGEST_BATCH = 8192, 4096


@dataclass(frozen=True)
class TracedGraph:
    """A traced network: its `program`, and how its outputs are put together (see `runtimes.GraphDescription`)."""

    program: ExportedProgram
    outputs: tuple[str, ...]
    structure: dict[str, Any]
    observations: dict[str, dict[str, Any]]


class _Notes:
    """What a graph's call leaves behind, in an object since torch.export restores the lists of a module."""

    taken: tuple[list[str], Any, dict[str, dict[str, Any]]]


class _Graph(nn.Module):
    """Calls a network with fixed controls, and keeps how its output and its trace become flat.

    Images may come in blocks, (B, C, h, m, w, m).
    """

    def __init__(self, model: nn.Module, controls: Mapping[str, Any], kinds: tuple[TraceKind, ...]) -> None:
        super().__init__()
        self.model, self.controls, self.kinds = model, dict(controls), kinds
        self.notes = _Notes()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Returns all tensors of the output, then those of the trace."""
        if images.ndim == 6:
            images = images.flatten(4).flatten(2, 3)
        trace = Trace(*self.kinds) if self.kinds else None
        output = self.model(images, **({} if trace is None else {"trace": trace}), **self.controls)
        tensors, structure = flat_output(output)
        observations: dict[str, dict[str, Any]] = {
            kind: {stage: flatten(seen, f"{kind}.{stage}", tensors) for stage, seen in trace.of(kind).items()}
            for kind in self.kinds
            if trace is not None
        }
        self.notes.taken = ([*tensors], structure, observations)
        return tuple(tensors.values())


def flat_output(output: Any) -> tuple[dict[str, Tensor], Any]:
    """Returns the tensors of an output by name, and its structure; of heads, only the one that results are read from.

    A tensor is named by the last part of its place where no other one ends so: "logits", "boxes".
    """
    tensors: dict[str, Tensor] = {}
    read = replace(output, heads=output.heads[:1]) if hasattr(output, "heads") else output
    structure = flatten(read, "logits" if isinstance(read, Tensor) else "", tensors)
    ends = [name.rpartition(".")[2] for name in tensors]
    names = {name: end if ends.count(end) == 1 else name for name, end in zip(tensors, ends, strict=True)}
    return {names[name]: tensor for name, tensor in tensors.items()}, renamed(structure, names)


def trace_graph(
    model: nn.Module, shape: tuple[int, ...], *, open_axes: tuple[int, ...], controls: Mapping[str, Any],
    kinds: tuple[TraceKind, ...] = (), blocks: bool = False,
) -> TracedGraph:  # fmt: skip
    """Traces a model in evaluation mode for images of a shape, some of whose axes may differ from call to call.

    Sides that may differ have to be multiples of `MULTIPLE` m; with `blocks` the graph takes such images as
    (B, C, h, m, w, m), so that its sizes are whole multiples of two numbers which it reads off its input. Raises
    ConfigError where that cannot be traced.
    """
    sides = [axis for axis in open_axes if axis >= len(shape) - 2]
    if sides:
        model = _with_even_padding(deepcopy(model))
    graph = _Graph(model, controls, kinds).eval()
    dims: dict[int, Any] = {0: Dim("batch", min=1, max=_LARGEST_BATCH)} if 0 in open_axes else {}
    # Of what is left open the example must not be one, which would be taken for a constant.
    example = [max(size, 2) if axis in open_axes else size for axis, size in enumerate(shape)]
    if sides:
        counts = [Dim(name, min=LEAST_MULTIPLES, max=_LARGEST_SIDE // MULTIPLE) for name in ("rows", "columns")]
        rows, columns = (max(round(shape[axis] / MULTIPLE), LEAST_MULTIPLES) for axis in sides)
        if blocks:
            example[2:] = [rows, MULTIPLE, columns, MULTIPLE]
            dims |= {2: counts[0], 4: counts[1]}
        else:
            example[2:] = [rows * MULTIPLE, columns * MULTIPLE]
            dims |= {2: MULTIPLE * counts[0], 3: MULTIPLE * counts[1]}
    try:
        with torch.no_grad():
            program = torch.export.export(graph, (torch.rand(example),), dynamic_shapes=(dims or None,), strict=False)
    # An AssertionError is torch's own about sizes that it finds no words for.
    except (RuntimeError, ValueError, TypeError, AssertionError, torch._dynamo.exc.TorchDynamoException) as error:
        raise ConfigError(f"This model cannot be exported so ({first_line(error)}): try one fixed --size.") from error
    names, structure, observations = graph.notes.taken
    seen = {kind: stages for kind, stages in observations.items() if stages}
    return TracedGraph(program=program, outputs=tuple(names), structure=structure, observations=seen)


def _with_even_padding(model: nn.Module) -> nn.Module:
    """Replaces convolutions whose padding follows from the size of the map by ones that pad maps of even sides."""
    for module in [*model.modules()]:
        for name, child in module.named_children():
            if isinstance(child, Conv2dSame):
                setattr(module, name, _EvenConv(child))
    return model


class _EvenConv(nn.Module):
    """A convolution with TensorFlow's padding, for maps whose sides its stride divides."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        missing = [
            max((kernel - 1) * dilation + 1 - stride, 0)
            for kernel, dilation, stride in zip(conv.kernel_size, conv.dilation, conv.stride, strict=True)
        ]
        self.padding = [part for total in reversed(missing) for part in (total // 2, total - total // 2)]

    def forward(self, x: Tensor) -> Tensor:
        """Returns what the convolution would."""
        conv = self.conv
        return F.conv2d(F.pad(x, self.padding), conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups)
