"""Times SparseFormer over time on a CPU beside torchvision's Video Swin, and measures memory as clips grow.

    python benchmarks/video_speed.py --threads 2

`video_sparseformer_tiny` (8 copies of 49 tokens, spread over the clip) against `swin3d_t`, both on clips of 224 px: at
32 frames in turns, with multiply-adds and memory; then from 8 to 128 frames, drawn in video_growth.png. Ours runs with
all frames computed, and with those alone that tokens read. It takes about half an hour.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import cyclopts
import torch
from torch import nn

from apart import measured_apart
from claims import COLUMNS, Claim, Verdict, judge_times, milliseconds, missed, verdict_on_memory
from publishing import publish
from sparsevision.factory import create_model
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.memory import peak_growth
from sparsevision.measure.operations import count_macs
from sparsevision.measure.report import markdown_table
from sparsevision.measure.speed import Settings, median_and_quartiles, time_interleaved, use_threads
from sparsevision.packing import pack_weights

Call = Callable[[], object]
SIDE, FRAMES = 224, (8, 16, 32, 64, 128)
USUAL = 32  # frames of both networks' clips
OURS, READ, PEER = "video_sparseformer_tiny", "video_sparseformer_tiny, frames that are read", "swin3d_t"
MOST_GROWTH = 3.0  # memory of 128 frames over that of 32
HOW = (
    "Random weights, one clip of {side} px, fp32. Candidates took turns: {rounds} rounds at {usual} frames, {few} at "
    "other lengths; medians, with the quartiles over rounds, and the ratio with a 90 % bootstrap interval. "
    "Ours is packed as `predict` has it; the peer is in the faster of its two memory formats. Memory: the growth of a "
    "fresh process during two calls, above the model and the clip. Tubes start as training starts them: eight parts of "
    "the clip, points spread from a tube's beginning to its end."
)
COLORS = {OURS: "#1b7837", READ: "#7fbf7b", PEER: "#762a83"}
app = cyclopts.App(help=__doc__)


def make(name: str) -> nn.Module:
    """One of the networks, as it predicts."""
    torch.manual_seed(0)
    if name == PEER:
        from torchvision.models.video import swin3d_t

        return swin3d_t().eval()
    computed = "read" if name == READ else "all"
    model = create_model(OURS, temporal_offset_init="spread", computed_frames=computed).eval()
    pack_weights(model)
    return model


def clip_of(frames: int, *, last: bool = False) -> torch.Tensor:
    """A clip (1, 3, T, H, W), with the channels last if asked for."""
    layout = torch.channels_last_3d if last else torch.contiguous_format
    return torch.rand(1, 3, frames, SIDE, SIDE).contiguous(memory_format=layout)


def call_of(model: nn.Module, clip: torch.Tensor) -> Call:
    """Returns the call from a clip to logits."""

    def run() -> object:
        with torch.inference_mode():
            return model(clip)

    return run


def peer_in_its_format() -> tuple[nn.Module, bool]:
    """Returns the peer in the faster of the two memory formats, and whether that is channels last."""
    model = make(PEER)
    calls = {last: call_of(model, clip_of(USUAL, last=last)) for last in (False, True)}
    times = time_interleaved(calls, Settings(rounds=3, warmup=1))
    return model, sorted(times[True])[1] < sorted(times[False])[1]


def memory_of(name: str, frames: int, threads: int) -> float:
    """Measures one network in a process of its own; in MB."""
    return measured_apart(__file__, "memory", name, frames, threads)


def memory_here(name: str, frames: int, threads: int) -> float:
    """Measures one network in this process."""
    torch.set_num_threads(threads)
    model, clip = make(name), clip_of(frames)
    call_of(model, torch.rand(1, 3, 4, 64, 64))()
    call = call_of(model, clip)
    return peak_growth(lambda: [call() for _ in range(2)]).megabytes


@app.default
def main(
    *, rounds: int = 15, few: int = 5, frames: Sequence[int] = FRAMES, threads: int = 2,
    out: Path = Path("benchmarks/results"),
) -> int:  # fmt: skip
    """Time and measure; write video_speed.md, .json and video_growth.png."""
    times: dict[int, Mapping[str, Sequence[float]]] = {}
    with use_threads(threads):
        peer, last = peer_in_its_format()
        ours = {name: make(name) for name in (OURS, READ)}
        for number in frames:
            calls = {name: call_of(model, clip_of(number)) for name, model in ours.items()}
            calls[PEER] = call_of(peer, clip_of(number, last=last))
            settings = Settings(rounds=rounds if number == USUAL else few, warmup=1)
            times[number] = time_interleaved(calls, settings, progress=lambda what: print(what, file=sys.stderr))
    memory = {name: {number: memory_of(name, number, threads) for number in frames} for name in (OURS, READ, PEER)}
    shape = (1, 3, USUAL, SIDE, SIDE)
    macs = {OURS: count_macs(create_model(OURS), shape).total, PEER: count_macs(peer, shape).total}
    how = HOW.format(side=SIDE, usual=USUAL, rounds=rounds, few=few)
    return write(times, memory, macs, how, out)


def write(
    times: Mapping[int, Mapping[str, Sequence[float]]], memory: Mapping[str, Mapping[int, float]],
    macs: Mapping[str, int], how: str, out: Path,
) -> int:  # fmt: skip
    """Judges, prints, writes and draws what was measured; returns the exit status."""
    machine, usual = describe_machine(), times[USUAL]
    verdicts = judge_times(f"{USUAL} frames", [Claim(f"{OURS} / {PEER}", OURS, PEER, 3.0)], usual)
    longest = max(times)
    growth = memory[OURS][longest] / memory[OURS][USUAL]
    bound = f"<= {MOST_GROWTH:.1f}x"
    text = f"memory of {longest} frames / {USUAL} frames, {OURS}"
    verdicts.append(Verdict("memory", text, f"{growth:.2f}x", bound, verdict_on_memory(growth, MOST_GROWTH)))
    columns = ("network", "clips a second", "ms (quartiles)", "multiply-adds, G", "memory, MB")
    rows = [
        (name, f"{1 / median_and_quartiles(usual[name]).value:.2f}", milliseconds(usual[name]),
         f"{macs.get(name, macs[OURS]) / 1e9:.1f}", f"{memory[name][USUAL]:.0f}")
        for name in (OURS, READ, PEER)
    ]  # fmt: skip
    growing = [
        (
            str(number),
            *(f"{seconds(times[number][name])} s, {memory[name][number]:.0f} MB" for name in (OURS, READ, PEER)),
        )
        for number in times
    ]
    text = "\n".join([
        "# Speed of SparseFormer over time", "", f"{machine}.", "", how, "", *markdown_table(COLUMNS, verdicts), "",
        f"A clip of {USUAL} frames:", "", *markdown_table(columns, rows), "", "As clips grow (time, memory):", "",
        *markdown_table(("frames", OURS, READ, PEER), growing), "",
    ])  # fmt: skip
    record = {"machine": asdict(machine), "verdicts": verdicts, "times": times, "memory": memory, "macs": macs}
    publish(out, "video_speed", text, record)
    draw(times, memory, out / "video_growth.png")
    return missed(verdicts)


def seconds(times: Sequence[float]) -> str:
    """The median."""
    return f"{median_and_quartiles(times).value:.2f}"


def draw(
    times: Mapping[int, Mapping[str, Sequence[float]]], memory: Mapping[str, Mapping[int, float]], path: Path
) -> None:
    """Draws time and memory over the number of frames."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, color in COLORS.items():
        frames = list(times)
        style = {"color": color, "marker": "o", "markersize": 4, "label": name}
        left.plot(frames, [median_and_quartiles(times[number][name]).value for number in frames], **style)
        right.plot(frames, [memory[name][number] for number in frames], **style)
    for axes, what in ((left, "seconds a clip"), (right, "memory above model and clip, MB")):
        axes.set(xlabel="frames of 224 px", ylabel=what, xscale="log", yscale="log")
        axes.set_xticks(list(times), [str(number) for number in times])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    left.legend(fontsize=7)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        print(json.dumps(memory_here(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
    else:
        sys.exit(app(result_action="return_value"))
