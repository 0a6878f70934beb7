"""Peak memory of a model's work, above the model itself, measured in a fresh process.

On a CPU the figure is the growth of the resident set: the kernel's high-water mark (`VmHWM`), reset just before the
first call, less what was resident then. By then the model and the images are loaded, torch's libraries have been
warmed by a small network of its own, and the allocator's freed memory has been returned; so what a model allocates at
its first call and keeps is counted. Elsewhere than on Linux the mark cannot be reset: there the
growth of the process's maximum is given, which is a lower bound. On CUDA it is torch's own account.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparsevision.errors import SparseVisionError
from sparsevision.measure.cases import Candidate, MemoryFormat, Runner, Workload
from sparsevision.measure.machine import read_kibibytes

_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CALLS = 3


@dataclass(frozen=True)
class MemoryUse:
    """Bytes above the model: `peak`; `exact` is False where it is only a lower bound."""

    peak: int
    exact: bool

    @property
    def megabytes(self) -> float:
        """The peak in MB (a million bytes)."""
        return self.peak / 1e6


def peak_growth(call: Callable[[], object]) -> MemoryUse:
    """Runs `call` and returns by how much this process's resident memory grew at its highest."""
    gc.collect()
    _return_freed_memory()
    try:
        # 5 sets the high-water mark to what is resident now.
        _CLEAR_REFS.write_text("5", encoding="ascii")
        before = read_kibibytes(_STATUS, "VmHWM")
    except OSError:
        before = None
    if before is None:
        return _growth_of_maximum(call)
    call()
    return MemoryUse((read_kibibytes(_STATUS, "VmHWM") or before) - before, exact=True)


def measure_memory(
    candidate: Candidate, memory_format: MemoryFormat, *, threads: int, compile_mode: str = "default"
) -> MemoryUse:
    """Measures one candidate in a process of its own.

    Raises `SparseVisionError` with the last line that the process wrote, should it fail.
    """
    chosen = asdict(replace(candidate, memory_format=memory_format))
    order = json.dumps({"candidate": chosen, "threads": threads, "compile_mode": compile_mode})
    done = subprocess.run([sys.executable, "-m", __name__, order], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise SparseVisionError(f"Measuring the memory of {candidate.label} at {candidate.workload} failed: {reason}")
    return MemoryUse(**json.loads(done.stdout.strip().splitlines()[-1]))


def measure_here(order: dict[str, Any]) -> MemoryUse:
    """Does what `measure_memory` asks, in this process: builds the candidate, warms the libraries, measures."""
    torch.set_num_threads(order["threads"])
    fields = order["candidate"]
    candidate = Candidate(**{**fields, "workload": Workload(**fields["workload"])})
    runner = Runner(candidate, compile_mode=order["compile_mode"], pick_format=False)
    if runner.device.type == "cuda":
        return _peak_on_cuda(runner)
    _warm_libraries()
    if candidate.compiled:
        # Compiling takes more memory than any forward pass; what is asked for is what running takes.
        runner()
    return peak_growth(functools.partial(_call_often, runner))


def _peak_on_cuda(runner: Runner) -> MemoryUse:
    runner()
    runner.synchronise()
    before = torch.cuda.memory_allocated(runner.device)
    torch.cuda.reset_peak_memory_stats(runner.device)
    _call_often(runner)
    return MemoryUse(torch.cuda.max_memory_allocated(runner.device) - before, exact=True)


def _call_often(call: Callable[[], object]) -> None:
    for _ in range(_CALLS):
        call()


def _growth_of_maximum(call: Callable[[], object]) -> MemoryUse:
    import resource

    # Bytes on macOS, kibibytes elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call()
    return MemoryUse((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit, exact=False)


def _warm_libraries() -> None:
    """Pages in the kernels of convolutions, products, norms and softmax, which belong to torch and not to a model."""
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.GELU(), nn.Flatten(2), nn.Linear(49, 8), nn.LayerNorm(8)
    )
    with torch.inference_mode():
        tokens = network(torch.zeros(1, 3, 16, 16))
        torch.baddbmm(tokens, tokens, tokens).softmax(-1)


def _return_freed_memory() -> None:
    """Gives freed blocks back to the system, where the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


if __name__ == "__main__":
    print(json.dumps(asdict(measure_here(json.loads(sys.argv[1])))))
