"""The curves of a run: losses, measures and learning rate over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

# What is drawn of a report's numbers, where it has them.
MEASURES = {"top1": "top-1", "mean_class": "mean over classes", "ap": "AP", "ap50": "AP50"}


def draw_curves(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Draws the lines of a metrics.jsonl into a PNG: losses, measures, learning rate."""
    # The object-oriented interface alone: pyplot would choose a screen and keep global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    losses, measures, rates = figure.subplots(1, 3)
    training = [line for line in lines if line["kind"] == "train"]
    steps = [line["step"] for line in training]
    losses.plot(steps, [line["loss"] for line in training], color="0.35", label="train, all terms")
    rates.plot(steps, [line["lr"] for line in training], color="0.35")
    for weights, style in (("raw", "--"), ("ema", "-")):
        scored = [line for line in lines if line["kind"] == "val" and line["weights"] == weights]
        if scored:
            style += "o" if len(scored) == 1 else ""  # one point makes no line
            steps = [line["step"] for line in scored]
            if "loss" in scored[0]:
                losses.plot(steps, [line["loss"] for line in scored], style, color="C0", label=f"val, {weights}")
            for number, name in enumerate(name for name in MEASURES if name in scored[0]):
                values = [100 * line[name] for line in scored]
                measures.plot(steps, values, style, color=f"C{number}", label=f"{MEASURES[name]}, {weights}")
    labels = ((losses, "loss"), (measures, "val, per cent"), (rates, "learning rate"))
    for axes, label in labels:
        axes.set(xlabel="step", title=label)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(frameon=False, fontsize="small")
    temporary = path.with_name(path.stem + ".new.png")
    figure.savefig(temporary)
    temporary.replace(path)
