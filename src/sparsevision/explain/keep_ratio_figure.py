"""Accuracy and time of a detector against the share of tokens that its encoder updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .overlays import FAINT, INK

# Okabe & Ito 2008: told apart by colour-blind eyes; markers tell them apart in grey.
_COLOURS = ("#0072b2", "#d55e00", "#009e73")
_MARKERS = ("o", "s", "^")
_NAMES = {"dam": "learned from the decoder's map", "objectness": "objectness", "random": "random"}


def keep_ratio_figure(
    rows: Sequence[Mapping[str, Any]], trained: float, *, remark: str = "", width: float = 6.9
) -> Figure:
    """Draws rows of a sweep: AP (solid) and AP50 (dashed), and milliseconds an image with quartiles.

    Args:
        rows: what `Swept.to_dict` gives, of each way to select by rising share.
        trained: the share that training had; a dotted line marks it.
        remark: stands below, as the data set and the machine.
        width: of the figure in inches; text keeps its size.
    """
    figure = Figure(figsize=(width, 0.42 * width), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    found, taken = figure.subplots(1, 2)
    for index, way in enumerate(dict.fromkeys(row["selection"] for row in rows)):
        own = [row for row in rows if row["selection"] == way]
        style: dict[str, Any] = {
            "color": _COLOURS[index % 3], "marker": _MARKERS[index % 3], "markersize": 3, "linewidth": 1.2,
        }  # fmt: skip
        shares = [row["keep_ratio"] for row in own]
        found.plot(shares, [100 * row["ap"] for row in own], label=f"AP, {_NAMES.get(way, way)}", **style)
        found.plot(
            shares, [100 * row["ap50"] for row in own], label=f"AP50, {_NAMES.get(way, way)}", linestyle="--", **style
        )
        times = [row["milliseconds"] for row in own]
        taken.plot(shares, [one["median"] for one in times], label=_NAMES.get(way, way), **style)
        taken.fill_between(
            shares,
            [one["low"] for one in times],
            [one["high"] for one in times],
            color=style["color"],
            alpha=0.15,
            lw=0,
        )
    _finish(found, "Accuracy (AP, %)", trained)
    _finish(taken, "Time an image (ms; median, quartiles)", trained)
    if remark:
        figure.supxlabel(remark, fontsize=5.5, color=FAINT, parse_math=False)
    return figure


def _finish(axes: Axes, title: str, trained: float) -> None:
    axes.axvline(trained, color=FAINT, linestyle=":", linewidth=0.8, label="as trained")
    axes.set_title(title, fontsize=8, color=INK, pad=4)
    axes.set_xlabel("share of tokens updated (keep ratio)", fontsize=7, color=INK, labelpad=2)
    axes.set(xlim=(0, 1.03), ylim=(0, None))
    axes.tick_params(labelsize=6, length=2, width=0.5, colors=INK)
    axes.grid(alpha=0.2, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(linewidth=0.5, color=FAINT)
    axes.legend(fontsize=6, frameon=False, labelcolor=INK, handlelength=2.8)
