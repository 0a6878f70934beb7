"""Deletion and insertion curves of several saliency maps, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sparsevision.explain.overlays import FAINT, INK

# Okabe & Ito 2008: told apart by colour-blind eyes; line styles tell them apart in grey.
_COLOURS = ("#7a7a7a", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
_STYLES = ("--", "-", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)))


def faithfulness_figure(rows: Sequence[Mapping[str, Any]], *, width: float = 3.4) -> Figure:
    """Draws the mean curves of the rows that `faithfulness` returns; areas and their intervals stand in the legend."""
    figure = Figure(figsize=(width, 0.72 * width), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, side, wish in zip(panels, ("deletion", "insertion"), ("low is good", "high is good"), strict=True):
        _curves(axes, rows, side)
        axes.set_title(f"{side.capitalize()} ({wish})", fontsize=7, color=INK, pad=4)
        axes.set_xlabel("share of pixels", fontsize=7, color=INK, labelpad=2)
    panels[0].set_ylabel("probability of the class", fontsize=7, color=INK, labelpad=2)
    return figure


def _curves(axes: Axes, rows: Sequence[Mapping[str, Any]], side: str) -> None:
    for index, row in enumerate(rows):
        half = (row[f"{side}_high"] - row[f"{side}_low"]) / 2
        axes.plot(
            row["shares"],
            row[f"{side}_curve"],
            color=_COLOURS[index % 6],
            linestyle=_STYLES[index % 6],
            linewidth=1.2,
            label=f"{row['map']} {row[side]:.3f} ± {half:.3f}",
        )
    axes.set(xlim=(0, 1), xticks=[0, 0.5, 1], ylim=(0, None))
    axes.tick_params(labelsize=6, length=2, width=0.5, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(linewidth=0.5, color=FAINT)
    legend = axes.legend(
        fontsize=5.5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.22), handlelength=2.2, labelcolor=INK
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
