"""Curves of measurements: of a sweep over a control, and of deletion and insertion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .overlays import FAINT, INK

# Okabe & Ito 2008: told apart by colour-blind eyes; markers and line styles tell them apart in grey.
_BLUE, _ORANGE, _GREEN = "#0072b2", "#d55e00", "#009e73"
_CHOICES = ((_BLUE, "o"), (_ORANGE, "s"), (_GREEN, "^"), ("#cc79a7", "D"))
_MAPS = (
    ("#7a7a7a", "--"), (_BLUE, "-"), (_ORANGE, "-."), (_GREEN, ":"), ("#cc79a7", (0, (5, 1))),
    ("#e69f00", (0, (3, 1, 1, 1, 1, 1))),
)  # fmt: skip


def sweep_figure(
    rows: Sequence[Mapping[str, Any]], control: str, trained: float, *, measures: Mapping[str, str],
    factor: float = 100.0, choices: Sequence[str] = (), remark: str = "", width: float = 6.9,
) -> Figure:  # fmt: skip
    """Draws rows of a sweep: the first two measures (solid, dashed), and milliseconds an image with quartiles.

    Args:
        rows: as `SweepRow.to_dict` gives them, of each combination of choices by rising value of the control.
        control, trained: its name, and the value that training had, which a dotted line marks.
        measures, factor: {name in the rows: label}, and what they are multiplied by, 100 for per cent.
        choices: names of the choices that were swept besides; each combination has a colour.
        remark: stands below; as what was scored and where.
        width: in inches; text keeps its size.
    """
    figure, scores, times = _two_panels(width, 0.42 * width)
    drawn = list(measures.items())[:2]
    combinations = dict.fromkeys(tuple(row[name] for name in choices) for row in rows)
    for index, combination in enumerate(combinations):
        own = [row for row in rows if tuple(row[name] for name in choices) == combination]
        name, (colour, marker) = ", ".join(combination), _CHOICES[index % len(_CHOICES)]
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 3, "linewidth": 1.2}
        values = [row[control] for row in own]
        for (key, label), line in zip(drawn, ("-", "--"), strict=False):
            text = f"{label}, {name}" if name else label
            # NaN, which is not drawn, where there was nothing to measure.
            measured = [math.nan if row[key] is None else factor * row[key] for row in own]
            scores.plot(values, measured, label=text, linestyle=line, **style)
        median, low, high = ([row["milliseconds"][key] for row in own] for key in ("median", "low", "high"))
        times.plot(values, median, label=name or "time", **style)
        times.fill_between(values, low, high, color=colour, alpha=0.15, lw=0)
    unit = " (%)" if factor == 100 else ""
    titles = (" and ".join(label for _, label in drawn) + unit, "Time an image (ms; median, quartiles)")
    for axes, title in zip((scores, times), titles, strict=True):
        axes.axvline(trained, color=FAINT, linestyle=":", linewidth=0.8, label="as trained")
        axes.set(xlim=(0, None), ylim=(0, None))
        axes.grid(alpha=0.2, linewidth=0.5)
        axes.legend(fontsize=6, frameon=False, labelcolor=INK, handlelength=2.8)
        _finish(axes, title, control.replace("_", " "), fontsize=8)
    if remark:
        figure.supxlabel(remark, fontsize=5.5, color=FAINT, parse_math=False)
    return figure


def faithfulness_figure(rows: Sequence[Mapping[str, Any]], *, width: float = 3.4) -> Figure:
    """Draws the mean curves of the rows of `faithfulness`, with areas and their intervals; `width` in inches."""
    figure, *panels = _two_panels(width, 0.72 * width, sharey=True)
    for axes, side, better in zip(panels, ("deletion", "insertion"), ("low", "high"), strict=True):
        for index, row in enumerate(rows):
            colour, style = _MAPS[index % len(_MAPS)]
            half = (row[f"{side}_high"] - row[f"{side}_low"]) / 2
            label = f"{row['map']} {row[side]:.3f} ± {half:.3f}"
            axes.plot(row["shares"], row[f"{side}_curve"], color=colour, linestyle=style, linewidth=1.2, label=label)
        axes.set(xlim=(0, 1), xticks=[0, 0.5, 1], ylim=(0, None))
        legend = axes.legend(
            fontsize=5.5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.22), handlelength=2.2,
            labelcolor=INK,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)
        _finish(axes, f"{side.capitalize()} ({better} is good)", "share of pixels", fontsize=7)
    panels[0].set_ylabel("probability of the class", fontsize=7, color=INK, labelpad=2)
    return figure


def _two_panels(width: float, height: float, **options: Any) -> tuple[Figure, Axes, Axes]:
    """Returns a figure of a size in inches, and two axes side by side."""
    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, **options)
    return figure, left, right


def _finish(axes: Axes, title: str, below: str, *, fontsize: float) -> None:
    """Writes the title and the name of the horizontal axis, and draws two thin axes."""
    axes.set_title(title, fontsize=fontsize, color=INK, pad=4)
    axes.set_xlabel(below, fontsize=7, color=INK, labelpad=2)
    axes.tick_params(labelsize=6, length=2, width=0.5, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(linewidth=0.5, color=FAINT)
