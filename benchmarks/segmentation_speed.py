"""Times segmenters on a CPU against what they are compared with, and measures the memory of large images.

    python benchmarks/segmentation_speed.py fpn --threads 2
    python benchmarks/segmentation_speed.py segformer --threads 2

VT-FPN against FPN with ResNet-50 at 800 x 1216, whole and the neck alone; SparseFormer's segmenter (tiny, 49 tokens,
150 classes) against transformers' SegFormer-B0 and -B2 at 512 and 2048 px, from the image to the class map: the latter
takes three quarters of an hour.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cyclopts
import torch
from torch import Tensor, nn

from apart import measured_apart
from claims import COLUMNS, Claim, Verdict, judge_times, milliseconds, missed, verdict_on_memory
from publishing import publish
from sparsevision.factory import create_model
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.memory import peak_growth
from sparsevision.measure.report import markdown_table
from sparsevision.measure.speed import Settings, time_interleaved, use_threads
from sparsevision.outputs import SegmentationHead
from sparsevision.packing import pack_weights
from sparsevision.tasks.segmentation.post_processing import class_map

Call = Callable[[], object]
CLASSES = 150
SEGFORMERS: Mapping[str, dict[str, Any]] = {
    "SegFormer-B0": {"depths": [2, 2, 2, 2], "hidden_sizes": [32, 64, 160, 256], "decoder_hidden_size": 256},
    "SegFormer-B2": {"depths": [3, 4, 6, 3], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768},
}
OURS = "sparseformer_segmenter_tiny"
MOST_MEGABYTES = 500  # above the model, at 2048 px
HOW = (
    "Random weights, one image, fp32; the candidates of a group took turns in one run of {rounds} rounds: medians, "
    "with the quartiles over rounds. Ratios are of medians, with a 90 % bootstrap interval over rounds. "
)
HOW_FPN = "Channels last, packed as `predict` has them."
HOW_SEGFORMER = (
    "Each network is in the faster of the two memory formats, ours packed as `predict` has them. The class map at the "
    "image's size is part of what is timed and of the memory, made by the same function, block by block, for all. "
    "Memory is the growth of a fresh process during three calls, above model and image."
)
app = cyclopts.App(help=__doc__)


def segformer(name: str) -> nn.Module:
    """transformers' network with random weights."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    torch.manual_seed(0)
    return SegformerForSemanticSegmentation(SegformerConfig(num_labels=CLASSES, **SEGFORMERS[name])).eval()


def ours(name: str) -> nn.Module:
    """One of this package's networks, packed."""
    torch.manual_seed(0)
    model = create_model(name, **({"num_classes": CLASSES} if name == OURS else {})).eval()
    pack_weights(model)
    return model


def logits_of(output: Any) -> SegmentationHead:
    """Returns the logits of either side, at stride 4."""
    return SegmentationHead("main", output.logits, 4) if hasattr(output, "logits") else output.heads[0]


def to_class_map(model: nn.Module, images: Tensor) -> Call:
    """Returns the call from an image to its class map."""
    size = (images.shape[2], images.shape[3])

    def run() -> object:
        with torch.inference_mode():
            return class_map(logits_of(model(images)), 0, size, size)

    return run


def alone(part: nn.Module, *inputs: Any) -> Call:
    """Returns the call of a part of a network."""

    def run() -> object:
        with torch.inference_mode():
            return part(*inputs)

    return run


def in_its_format(make: Callable[[], nn.Module], side: int) -> Call:
    """Returns the call of a network in the faster of the two memory formats."""
    calls = {}
    for name, layout in (("plain", torch.contiguous_format), ("channels last", torch.channels_last)):
        model = make().to(memory_format=layout)
        calls[name] = to_class_map(model, torch.rand(1, 3, side, side).contiguous(memory_format=layout))
    times = time_interleaved(calls, Settings(rounds=3, warmup=1))
    return calls[min(calls, key=lambda name: sorted(times[name])[1])]


def necks() -> dict[str, Call]:
    """Both necks on maps of an image of 800 x 1216."""
    maps = [torch.rand(1, 256 << level, 200 >> level, 304 >> level) for level in range(4)]
    maps = [each.contiguous(memory_format=torch.channels_last) for each in maps]
    return {name: alone(ours(name).neck, maps) for name in ("fpn_r50", "vt_fpn_r50")}


def memory_of(name: str, side: int, threads: int) -> float:
    """Measures one network in a process of its own; in MB."""
    return measured_apart(__file__, "memory", name, side, threads)


def memory_here(name: str, side: int, threads: int) -> float:
    """Measures one network in this process."""
    torch.set_num_threads(threads)
    model = segformer(name) if name in SEGFORMERS else ours(name)
    images = torch.rand(1, 3, side, side)
    to_class_map(model, torch.rand(1, 3, 64, 64))()
    call = to_class_map(model, images)
    return peak_growth(lambda: [call() for _ in range(3)]).megabytes


def timed(group: str, calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """Times the candidates of a group, and tells how far it is."""

    def tell(what: str) -> None:
        print(f"{group}: {what}", file=sys.stderr)

    return time_interleaved(calls, Settings(rounds=rounds), progress=tell)


Times = Mapping[str, Mapping[str, Sequence[float]]]


def write(
    name: str, title: str, how: str, verdicts: Sequence[Verdict], times: Times, out: Path,
    memories: Sequence[tuple[str, str, str]] = (),
) -> int:  # fmt: skip
    """Prints and writes what was found of groups of candidates; returns the exit status."""
    machine = describe_machine()
    rows = [(group, each, milliseconds(seconds)) for group, found in times.items() for each, seconds in found.items()]
    tables = [*markdown_table(COLUMNS, verdicts), "", *markdown_table(("group", "candidate", "ms (quartiles)"), rows)]
    if memories:
        tables += ["", *markdown_table(("image", "network", "memory above model and image, MB"), memories)]
    text = "\n".join([f"# {title}", "", f"{machine}.", "", how, "", *tables, ""])
    publish(out, name, text, {"machine": asdict(machine), "verdicts": verdicts, "times": times, "memory": memories})
    return missed(verdicts)


@app.command
def fpn(*, rounds: int = 31, threads: int = 2, out: Path = Path("benchmarks/results")) -> int:
    """Time VT-FPN beside FPN, whole and the neck alone."""
    images = torch.rand(1, 3, 800, 1216).contiguous(memory_format=torch.channels_last)
    whole, neck = "800 x 1216", "neck at 800 x 1216"
    with use_threads(threads):
        times = {
            whole: timed(whole, {name: alone(ours(name), images) for name in ("fpn_r50", "vt_fpn_r50")}, rounds),
            neck: timed(neck, necks(), rounds),
        }
    verdicts = [
        *judge_times(whole, [Claim("vt_fpn_r50 / fpn_r50", "vt_fpn_r50", "fpn_r50", 1.2)], times[whole]),
        *judge_times(neck, [Claim("VT-FPN / FPN, the neck alone", "vt_fpn_r50", "fpn_r50", 3.0)], times[neck]),
    ]
    return write("fpn_speed", "Speed of VT-FPN", HOW.format(rounds=rounds) + HOW_FPN, verdicts, times, out)


@app.command(name="segformer")
def against_segformer(*, rounds: int = 11, threads: int = 2, out: Path = Path("benchmarks/results")) -> int:
    """Time SparseFormer's segmenter beside SegFormer, and measure memory."""
    times: dict[str, dict[str, list[float]]] = {}
    with use_threads(threads):
        for side in (512, 2048):
            made = {name: in_its_format(partial(segformer, name), side) for name in SEGFORMERS}
            made[OURS] = in_its_format(partial(ours, OURS), side)
            times[f"{side} px"] = timed(f"{side} px", made, rounds)
    memories = [
        (f"{side} px", name, f"{memory_of(name, side, threads):.0f}")
        for side in (512, 2048) for name in (*SEGFORMERS, OURS)
    ]  # fmt: skip
    return write_segformer(times, memories, rounds, out)


def write_segformer(times: Times, memories: Sequence[tuple[str, str, str]], rounds: int, out: Path) -> int:
    """Judges what was measured; whoever is faster: what is said is the ratio."""
    claims = [Claim(f"{OURS} / {name}", OURS, name, 0.0) for name in SEGFORMERS]
    verdicts = [verdict for group, found in times.items() for verdict in judge_times(group, claims, found)]
    own = next(float(figure) for size, name, figure in memories if size == "2048 px" and name == OURS)
    bound = f"<= {MOST_MEGABYTES} MB"
    verdicts.append(
        Verdict("2048 px", f"memory of {OURS}", f"{own:.0f} MB", bound, verdict_on_memory(own, MOST_MEGABYTES))
    )
    how = HOW.format(rounds=rounds) + HOW_SEGFORMER
    return write("segformer_speed", "SparseFormer's segmenter and SegFormer", how, verdicts, times, out, memories)


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        print(json.dumps(memory_here(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
    else:
        sys.exit(app(result_action="return_value"))
