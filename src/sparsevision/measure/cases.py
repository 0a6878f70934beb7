"""Cases of a measurement: a model on a path, in a precision, compiled or not, at a size and a batch."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

from sparsevision.errors import ConfigError
from sparsevision.factory import create_model
from sparsevision.kernels.dispatch import plain_operators, with_channels_last
from sparsevision.models.published import count_parameters
from sparsevision.models.registry import variant_named
from sparsevision.packing import pack_weights

Dtype = Literal["fp32", "bf16", "fp16"]
Path = Literal["default", "plain"]
Work = Literal["inference", "training"]
MemoryFormat = Literal["contiguous", "channels_last"]
Size = int | tuple[int, int]

_AUTOCAST: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
_MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
_TRIAL_SECONDS = 1.0


def sides(size: Size) -> tuple[int, int]:
    """Returns height and width of a size; one number is a square."""
    return (size, size) if isinstance(size, int) else size


def input_shape(model: str, size: Size) -> tuple[int, ...]:
    """Returns the shape of one image of a size, or of a clip of as many frames as the model usually sees."""
    frames = variant_named(model).preprocessing.frames if is_ours(model) else None
    return (3, *sides(size)) if frames is None else (3, frames, *sides(size))


def size_text(size: Size) -> str:
    """Writes a size as the command line takes it: 224, or 800x1066 for height and width."""
    return str(size) if isinstance(size, int) else f"{size[0]}x{size[1]}"


@dataclass(frozen=True)
class Workload:
    """Conditions that candidates must share to be compared: images of `size` pixels, `batch` of them, `dtype`, `work`.

    One number as size means square images, two are height and width.
    """

    size: Size = 224
    batch: int = 1
    _: KW_ONLY
    dtype: Dtype = "fp32"
    work: Work = "inference"
    device: str = "cpu"

    def __post_init__(self) -> None:
        # JSON hands lists over; a frozen workload is hashed.
        if not isinstance(self.size, int):
            object.__setattr__(self, "size", tuple(self.size))

    def __str__(self) -> str:
        step = ", training step" if self.work == "training" else ""
        return f"{size_text(self.size)} px, batch {self.batch}, {self.dtype}{step}"


@dataclass(frozen=True)
class Candidate:
    """One side of a comparison; `memory_format` None means: whichever is found to be faster."""

    model: str
    workload: Workload
    _: KW_ONLY
    path: Path = "default"
    compiled: bool = False
    memory_format: MemoryFormat | None = None

    @property
    def packs(self) -> bool:
        """Whether weights are packed, as the predictor does; autocast has to read them."""
        return self.workload.work == "inference" and self.workload.dtype == "fp32"

    @property
    def label(self) -> str:
        """The name under which results are listed: the model, and what is not ordinary about it."""
        marks = ("plain" if self.path == "plain" else "", "compiled" if self.compiled else "", self.memory_format or "")
        return " ".join([self.model.removeprefix("timm/"), *filter(None, marks)])


def is_ours(name: str) -> bool:
    """Returns whether a model is this package's own, and so has a plain path."""
    return not name.startswith("timm/")


def build_model(name: str, size: Size, *, fuse: bool = False) -> nn.Module:
    """Makes a model for images of a size, with random weights.

    A timm model of a fixed image size is built for it. `fuse` merges the branches of reparameterisable peers, as
    anybody would who deploys them. Raises `ConfigError` for a size that the model cannot take.
    """
    if is_ours(name):
        return create_model(name)
    from timm.models import get_pretrained_cfg
    from timm.utils.model import reparameterize_model

    settings = get_pretrained_cfg(name.removeprefix("timm/").partition(".")[0])
    options: dict[str, Any] = {}
    if settings is not None and settings.fixed_input_size and settings.input_size[-2:] != sides(size):
        options["img_size"] = size
    try:
        model = create_model(name, **options)
    except (TypeError, AssertionError) as failure:
        raise ConfigError(
            f"{name} cannot be built for {size_text(size)} px ({failure}): choose another size."
        ) from failure
    return reparameterize_model(model, inplace=True) if fuse else model


def compiler_options(mode: str, *, freezing: bool) -> dict[str, Any]:
    """Returns torch.compile's options for a mode; `freezing` makes weights constants, which a CPU's kernels pack."""
    from torch._inductor import list_mode_options

    return list_mode_options(mode) | ({"freezing": True} if freezing else {})


class Runner:
    """A candidate made ready: calling it does one forward pass, or one training step, and waits for the device.

    `memory_format` is the chosen one. A compiled candidate is compiled at its first call, for its exact shapes.
    """

    def __init__(self, candidate: Candidate, *, compile_mode: str = "default", pick_format: bool = True) -> None:
        torch.manual_seed(0)
        load = candidate.workload
        self.candidate = candidate
        self.device = torch.device(load.device)
        training = load.work == "training"
        model = build_model(candidate.model, load.size, fuse=not training)
        self.model = model.to(self.device).train(training)
        self.parameters = count_parameters(self.model)
        if is_ours(candidate.model) and candidate.path == "default" and candidate.packs:
            pack_weights(self.model)
        self.images = torch.randn(load.batch, *input_shape(candidate.model, load.size), device=self.device)
        self.targets = torch.zeros(load.batch, dtype=torch.int64, device=self.device)
        self.optimiser: torch.optim.Optimizer | None = None
        if training:
            self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-6, fused=True)
        self._network: Any = self.model
        self.memory_format: MemoryFormat = candidate.memory_format or "contiguous"
        if candidate.memory_format is None and pick_format:
            self()  # Whatever a first call costs belongs to no format.
            self.memory_format = min(get_args(MemoryFormat), key=self._try_format)
        self._take_format(self.memory_format)
        if candidate.compiled:
            # Fixed shapes, because each candidate sees one shape only; dynamic ones would slow the second of two.
            options = compiler_options(compile_mode, freezing=not training and self.device.type == "cpu")
            self._network = torch.compile(self.model, dynamic=False, options=options)

    def __call__(self) -> None:
        """Does the candidate's work once."""
        with ExitStack() as stack:
            if self.candidate.path == "plain":
                stack.enter_context(plain_operators())
            if self.optimiser is None:
                stack.enter_context(torch.inference_mode())
            if (dtype := _AUTOCAST.get(self.candidate.workload.dtype)) is not None:
                stack.enter_context(torch.autocast(self.device.type, dtype=dtype))
            output = self._network(self.images)
            if self.optimiser is not None:
                loss = F.cross_entropy(output.float(), self.targets)
        if self.optimiser is not None:
            loss.backward()
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
        self.synchronise()

    def synchronise(self) -> None:
        """Waits until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _take_format(self, name: MemoryFormat) -> None:
        self.model.to(memory_format=_MEMORY_FORMATS[name])
        last = name == "channels_last"
        self.images = with_channels_last(self.images) if last else self.images.contiguous()

    def _try_format(self, name: MemoryFormat) -> float:
        """Returns the best of a few eager calls in a memory format; of a slow candidate one call is enough."""
        self._take_format(name)
        times: list[float] = []
        while len(times) < 4 and sum(times) < _TRIAL_SECONDS:
            start = time.perf_counter()
            self()
            times.append(time.perf_counter() - start)
        return min(times)
