"""Description of the machine of a measurement, without its owner."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Machine:
    """Processor, memory, accelerator and versions: what a reader needs to repeat a measurement."""

    processor: str
    cores: int
    threads: int
    vector: str
    memory_gib: float
    accelerator: str
    torch: str
    python: str
    system: str

    def __str__(self) -> str:
        processor = f"{self.processor}, cores: {self.cores}, threads: {self.threads}, {self.vector}"
        accelerator = f"{self.accelerator}; " if self.accelerator else ""
        versions = f"torch {self.torch}; Python {self.python}; {self.system}"
        return f"{processor}; {self.memory_gib:.0f} GiB; {accelerator}{versions}"


def describe_machine(device: str = "cpu") -> Machine:
    """Describes the machine as torch sees it now; `device` says whether an accelerator takes part."""
    accelerator = ""
    if torch.device(device).type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        accelerator = f"{torch.cuda.get_device_name(device)} (capability {major}.{minor}, CUDA {torch.version.cuda})"
    return Machine(
        processor=_processor_name(), cores=usable_cores(), threads=torch.get_num_threads(),
        vector=torch.backends.cpu.get_cpu_capability(), memory_gib=total_memory() / 2**30, accelerator=accelerator,
        torch=torch.__version__, python=platform.python_version(), system=platform.system(),
    )  # fmt: skip


def usable_cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def total_memory() -> int:
    """Returns the machine's memory in bytes, 0 where it cannot be told."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def available_memory() -> int:
    """Returns the bytes that can be had without swapping, as the kernel estimates; 0 where it cannot be told."""
    return read_kibibytes(Path("/proc/meminfo"), "MemAvailable") or 0


def read_kibibytes(path: Path, key: str) -> int | None:
    """Reads a line `key: N kB` of one of the kernel's tables as bytes; None where the table or the line is missing."""
    return next((int(value.split()[0]) * 1024 for name, value in _lines_of(path) if name == key), None)


def _processor_name() -> str:
    names = (value for name, value in _lines_of(Path("/proc/cpuinfo")) if name == "model name")
    return next(names, "") or platform.processor() or platform.machine()


def _lines_of(path: Path) -> Iterator[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        name, _, value = line.partition(":")
        yield name.strip(), value.strip()
