"""The curves of a run: losses, measures and learning rate over the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsevision.files import replacing
from sparsevision.tasks import Measure

_DRAWN = 2


def draw_curves(lines: Sequence[dict[str, Any]], measures: Sequence[Measure], path: Path) -> None:
    """Draws the lines of a metrics.jsonl into a PNG: losses, the first measures, learning rate."""
    # The object-oriented interface alone: pyplot would choose a screen and keep global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    losses, scores, rates = figure.subplots(1, 3)
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
            for number, measure in enumerate(measures[:_DRAWN]):
                values = [(100 if measure.percent else 1) * _number(line[measure.name]) for line in scored]
                scores.plot(steps, values, style, color=f"C{number}", label=f"{measure.label}, {weights}")
    unit = ", per cent" if measures[0].percent else ""
    for axes, label in ((losses, "loss"), (scores, f"val{unit}"), (rates, "learning rate")):
        axes.set(xlabel="step", title=label)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(frameon=False, fontsize="small", ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    with replacing(path) as part:
        figure.savefig(part)


def _number(value: float | None) -> float:
    """Returns a value, NaN, which is not drawn, where there is none."""
    return math.nan if value is None else value
