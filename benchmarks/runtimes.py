"""Which runtime to use: every way to run a network on a CPU, of ours and of peers, in turns.

    python benchmarks/runtimes.py classifiers --batch 1
    python benchmarks/runtimes.py classifiers --batch 8
    python benchmarks/runtimes.py nano
    python benchmarks/runtimes.py detectors --rounds 5

Networks of a group see images of one size and are timed in one run, fp32 but for the column int8. Pools of threads keep
spinning behind a call and would slow the next candidate, so each rests for 0.3 s and makes a call that does not count
before its turn. Files are made in a folder and kept for the next call. Writes `results/runtimes_GROUP_BATCH.md` and
`.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cyclopts
import numpy as np
import torch
from torch import Tensor, nn

from claims import milliseconds
from publishing import publish
from sparsevision.errors import SparseVisionError
from sparsevision.export import ExportOptions, export_model
from sparsevision.factory import create_model, open_model
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.report import markdown_table
from sparsevision.measure.speed import Settings, after_rest, ratio_of_medians, time_interleaved, use_threads
from sparsevision.models.registry import variant_named
from sparsevision.packing import pack_weights
from sparsevision.runtimes.runtime import open_runtime

Call = Callable[[], object]
WAYS = ("eager", "packed", "compiled", "onnxruntime", "openvino", "int8")
REST = 0.3  # seconds


@dataclass(frozen=True)
class Group:
    """Networks of this package and of others that are compared, and the sides of their images."""

    size: tuple[int, int]
    ours: tuple[str, ...]
    peers: tuple[str, ...] = ()


GROUPS: Mapping[str, Group] = {
    "classifiers": Group(
        (224, 224), ("sparseformer_nano", "sparseformer_tiny", "vt_resnet18"),
        ("timm/swin_tiny_patch4_window7_224", "timm/mobilenetv4_conv_medium", "timm/hgnetv2_b0", "timm/resnet18"),
    ),
    "nano": Group((320, 416), ("sparse_detr_nano", "vt_fpn_nano")),
    "detectors": Group((800, 1056), ("sparse_detr_r50_10",), ("transformers/deformable_detr",)),
}  # fmt: skip


def main(
    group: Literal["classifiers", "nano", "detectors"], *, batch: int = 1, threads: int = 2, rounds: int = 15,
    files: Path = Path("runs/runtimes"), out: Path = Path("benchmarks/results"),
) -> None:  # fmt: skip
    """Time every way of every network of a group."""
    chosen = GROUPS[group]
    files.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    images = torch.rand(batch, 3, *chosen.size)
    calls: dict[str, Call] = {}
    with use_threads(threads):
        for name in (*chosen.ours, *chosen.peers):
            ways = _ways_of_ours(name, images, files) if name in chosen.ours else _ways_of_peer(name, images, files)
            calls |= {f"{name} {way}": call for way, call in ways.items()}
        times = time_interleaved(calls, Settings(rounds=rounds, turn_seconds=0), prepare=after_rest(calls, REST))
    _tell(group, chosen, batch, threads, times, out)


def _ways_of_ours(name: str, images: Tensor, files: Path) -> dict[str, Call]:
    """Returns the calls of a network of this package; of one without shipped weights, with fresh ones."""
    stem = files / f"{name}_{len(images)}x{images.shape[2]}x{images.shape[3]}"
    model = _opened(name)
    ways = _in_pytorch(model, images)
    packed = _opened(name)
    if pack_weights(packed):
        ways["packed"] = partial(_called, packed, images)
    options: dict[str, Any] = {"size": tuple(images.shape[2:]), "batch": len(images)}
    formats: dict[str, tuple[str, str]] = {"onnxruntime": ("onnx", "fp32"), "openvino": ("openvino", "fp32")}
    if "openvino" in variant_named(name).int8:
        formats["int8"] = ("openvino", "int8")
    for way, (format, precision) in formats.items():
        path = stem.with_name(f"{stem.name}_{precision}.{'onnx' if format == 'onnx' else 'xml'}")
        if not path.exists():
            fitted = _noise(images, 20) if precision == "int8" else []
            export_model(model, path, ExportOptions(format=format, precision=precision, **options), calibration=fitted)
        ways[way] = partial(open_runtime(path).run, images.numpy())
    return ways


def _opened(name: str) -> Any:
    torch.manual_seed(0)
    try:
        return open_model(name).eval()
    except SparseVisionError:  # released weights cannot be fetched everywhere, and time does not depend on them
        return create_model(name).eval()


def _noise(images: Tensor, count: int) -> list[Any]:
    """Returns arrays for a calibration of which only the time matters."""
    draws = np.random.default_rng(0)
    return [draws.integers(0, 256, (*images.shape[2:], 3), dtype=np.uint8) for _ in range(count)]


def _ways_of_peer(name: str, images: Tensor, files: Path) -> dict[str, Call]:
    """Returns the calls of another package's network, in its faster memory format."""
    library, _, own = name.partition("/")
    model = _timm(own) if library == "timm" else _transformers()
    images = images.contiguous(memory_format=torch.channels_last)
    model = model.to(memory_format=torch.channels_last)
    ways = _in_pytorch(model, images)
    path = files / f"{own}_{len(images)}x{images.shape[2]}x{images.shape[3]}.onnx"
    if not path.exists():
        torch.onnx.export(model, (images.contiguous(),), path, dynamo=True, external_data=False, verbose=False)
    converted = path.with_suffix(".xml")
    if not converted.exists():
        import openvino

        openvino.save_model(openvino.convert_model(path), converted, compress_to_fp16=False)
    for way, file in (("onnxruntime", path), ("openvino", converted)):
        ways[way] = partial(open_runtime(file).run, images.contiguous().numpy())
    return ways


def _timm(name: str) -> nn.Module:
    import timm

    return timm.create_model(name).eval()


def _transformers() -> nn.Module:
    from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection

    network = DeformableDetrForObjectDetection(DeformableDetrConfig(use_pretrained_backbone=False, num_labels=91))
    return _Flat(network).eval()


class _Flat(nn.Module):
    """The logits and boxes of transformers' detector."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = self.network(images)
        return found.logits, found.pred_boxes


def _in_pytorch(model: nn.Module, images: Tensor) -> dict[str, Call]:
    compiled = torch.compile(model)
    return {"eager": partial(_called, model, images), "compiled": partial(_called, compiled, images)}


def _called(model: Callable[[Tensor], object], images: Tensor) -> object:
    with torch.inference_mode():
        return model(images)


def _tell(group: str, chosen: Group, batch: int, threads: int, times: Mapping[str, Sequence[float]], out: Path) -> None:
    name = f"runtimes_{group}_{batch}"
    rows = []
    for network in (*chosen.ours, *chosen.peers):
        own = {way: times[f"{network} {way}"] for way in WAYS if f"{network} {way}" in times}
        base = own.get("packed", own["eager"])
        rows.append(
            (network, *(f"{milliseconds(own[way])}, {ratio_of_medians(own[way], base).value:.2f}" if way in own else ""
                        for way in WAYS))
        )  # fmt: skip
    height, width = chosen.size
    text = [
        f"# Runtimes: {group}, batch {batch}", "", f"{describe_machine()}.", "",
        f"Images of {height} x {width}, {threads} threads. Medians with quartiles of milliseconds a call, and the part "
        "of the time of packed weights (of peers: of eager PyTorch).",
        "", *markdown_table(("network", *WAYS), rows),
    ]  # fmt: skip
    publish(out, name, "\n".join(text), {key: list(value) for key, value in times.items()})


if __name__ == "__main__":
    cyclopts.run(main)
