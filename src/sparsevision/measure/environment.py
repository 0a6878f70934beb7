"""Examination of the machine for training and predicting: devices, packages, memory, disk, and a self-check."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

import torch

from sparsevision import __version__
from sparsevision.errors import SparseVisionError, first_line
from sparsevision.factory import create_model
from sparsevision.kernels.dispatch import plain_operators
from sparsevision.measure.machine import available_memory, describe_machine, total_memory, usable_cores
from sparsevision.models.registry import variants

Status = Literal["ok", "note", "harm"]

_NAME, _EXTRA = re.compile(r"[\w.-]+"), re.compile(r"extra == ['\"]([\w-]+)")
_LEAST_MEMORY, _LEAST_DISK, _LEAST_SHARED = 2 * 2**30, 2 * 2**30, 512 * 2**20


@dataclass(frozen=True)
class Finding:
    """One thing examined: its `name`, what was found, and `advice` where it deserves a note or is harmful."""

    name: str
    value: str
    _: KW_ONLY
    status: Status = "ok"
    advice: str = ""


def _harm(name: str, value: str, advice: str) -> Finding:
    return Finding(name, value, status="harm", advice=advice)


def _note(name: str, value: str, advice: str) -> Finding:
    return Finding(name, value, status="note", advice=advice)


def examine_environment(folder: Path | None = None) -> list[Finding]:
    """Examines Python, packages, devices, threads, memory, the disk under `folder` (default: here) and the model."""
    findings = [
        Finding("sparsevision", __version__), Finding("python", f"{platform.python_version()} ({sys.executable})"),
        *examine_packages(), *examine_devices(), examine_threads(usable_cores(), torch.get_num_threads()),
        examine_memory(available_memory(), total_memory()), examine_disk(folder or Path.cwd()),
    ]  # fmt: skip
    if (shared := Path("/dev/shm")).is_dir():
        findings.append(examine_shared_memory(shutil.disk_usage(shared).total))
    return [*findings, examine_model()]


def harms(findings: list[Finding]) -> list[Finding]:
    """Returns the harmful findings."""
    return [finding for finding in findings if finding.status == "harm"]


def examine_packages(installed: Callable[[str], str] = version) -> Iterator[Finding]:
    """Yields a finding per package that the core needs, and one per extra with what of it is missing.

    `installed` returns a package's version or raises `PackageNotFoundError`.
    """
    again = "Install sparsevision again: its core needs it."
    for extra, names in _requirements().items():
        found = {name: _version_or_none(name, installed) for name in names}
        if not extra:
            yield from (Finding(name, one) if one else _harm(name, "missing", again) for name, one in found.items())
            continue
        listed = ", ".join(f"{name} {one}" for name, one in found.items() if one)
        if missing := [name for name, one in found.items() if one is None]:
            advice = f"Missing: {', '.join(missing)}. If needed: install sparsevision[{extra}]."
            yield _note(f"extra [{extra}]", listed or "not installed", advice)
        else:
            yield Finding(f"extra [{extra}]", listed)


def examine_devices() -> Iterator[Finding]:
    """Yields the processor and every accelerator that torch can use, and a note where one lies idle."""
    yield Finding("cpu", f"{describe_machine().processor}, {torch.backends.cpu.get_cpu_capability()}")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Finding(f"cuda:{index}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        yield Finding("mps", "available")
    if not torch.cuda.is_available() and Path("/proc/driver/nvidia/version").exists():
        advice = "An NVIDIA driver is there, but torch cannot use it: install a build of torch with CUDA."
        yield _note("cuda", "not usable", advice)


def examine_threads(cores: int, threads: int) -> Finding:
    """Checks the number of threads against the cores: more of them slow each other down."""
    value = f"{threads} of {cores} cores"
    if threads > cores:
        return _harm("threads", value, f"More threads than cores: set OMP_NUM_THREADS={cores}.")
    if threads < cores:
        return _note("threads", value, f"Some cores stay idle: OMP_NUM_THREADS={cores} would use them.")
    return Finding("threads", value)


def examine_memory(available: int, total: int) -> Finding:
    """Checks the memory in bytes that can be had now; 0 means that the system does not tell."""
    value = f"{available / 2**30:.1f} of {total / 2**30:.1f} GiB available" if available else "the system does not tell"
    if 0 < available < _LEAST_MEMORY:
        return _harm("memory", value, "Less than 2 GiB: close other programs, or lower batch and size.")
    return Finding("memory", value)


def examine_disk(folder: Path) -> Finding:
    """Checks the disk under a folder: whether it can be written and has room for a run."""
    free = shutil.disk_usage(folder).free
    value = f"{free / 2**30:.1f} GiB free"
    if not os.access(folder, os.W_OK):
        return _harm("disk", f"{value}, not writable", "Runs write here: change to a folder of your own.")
    if free < _LEAST_DISK:
        return _harm("disk", value, "Less than 2 GiB: a run's weights and state may not fit.")
    return Finding("disk", value)


def examine_shared_memory(size: int) -> Finding:
    """Checks the shared memory in bytes, through which loader processes hand their batches over."""
    value = f"{size / 2**20:.0f} MiB"
    if size < _LEAST_SHARED:
        advice = "Small for loader processes: use few workers, or give a container more (docker: --shm-size=2g)."
        return _note("shared memory", value, advice)
    return Finding("shared memory", value)


def examine_model() -> Finding:
    """Runs the first model whose weights ship with the package, on the default and on the plain path, and compares."""
    shipped = next(name for name, one in variants().items() if one.weights and "://" not in one.weights.location)
    name = f"self-check, {shipped}"
    try:
        model = create_model(shipped, pretrained=True).eval()
    except SparseVisionError as failure:
        return _harm(name, "no weights", str(failure))
    rows = torch.linspace(-1, 1, 160)
    images = rows.view(1, 1, -1, 1) * torch.tensor([1.0, -1.0, 0.5]).view(1, 3, 1, 1) + rows.cos()
    try:
        with torch.inference_mode():
            fast = model(images)
            with plain_operators():
                plain = model(images)
    except RuntimeError as failure:
        return _harm(name, "failed", f"The model does not run here: {first_line(failure)}")
    return judge_outputs(name, fast, plain)


def judge_outputs(name: str, fast: torch.Tensor, plain: torch.Tensor) -> Finding:
    """Checks whether two paths gave finite and equal answers (to 1e-3 of the largest)."""
    if not bool(plain.isfinite().all() and fast.isfinite().all()):
        return _harm(name, "not finite", "This build of torch computes wrongly here: install another.")
    difference = float((fast - plain).abs().max() / plain.abs().max().clamp_min(1e-6))
    if difference > 1e-3:
        advice = "The fast path computes something else than the plain one here: please report it."
        return _harm(name, f"paths differ by {difference:.0e}", advice)
    return Finding(name, f"runs; fast and plain path agree to {difference:.0e}")


def _requirements() -> Mapping[str, list[str]]:
    """Returns the packages that each extra of this package names; under "" those of the core."""
    groups: dict[str, list[str]] = {"": []}
    for text in requires("sparsevision") or []:
        name, marked = _NAME.match(text), _EXTRA.search(text)
        if name is not None and name[0] != "sparsevision":
            groups.setdefault(marked[1] if marked else "", []).append(name[0])
    return groups


def _version_or_none(name: str, installed: Callable[[str], str]) -> str | None:
    try:
        return installed(name)
    except PackageNotFoundError:
        return None
