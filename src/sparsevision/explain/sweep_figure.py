"""The measures of a model and its time, against the value of one of its controls."""

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
_STYLES = ("-", "--")


def sweep_figure(
    rows: Sequence[Mapping[str, Any]],
    control: str,
    trained: float,
    *,
    measures: Mapping[str, str],
    factor: float = 100.0,
    choices: Sequence[str] = (),
    remark: str = "",
    width: float = 6.9,
) -> Figure:
    """Draws rows of a sweep: the first two measures (solid, dashed), and milliseconds an image with quartiles.

    Args:
        rows: as `SweepRow.to_dict` gives them, of each combination of choices by rising value of the control.
        control: its name.
        trained: the value that training had; a dotted line marks it.
        measures: {name in the rows: label}.
        factor: multiplies the measures, 100 for per cent.
        choices: names of the choices that were swept besides; each combination has a colour.
        remark: stands below; as what was scored and where.
        width: of the figure in inches; text keeps its size.
    """
    figure = Figure(figsize=(width, 0.42 * width), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    scores, times = figure.subplots(1, 2)
    drawn = list(measures.items())[:2]
    combinations = dict.fromkeys(tuple(row[name] for name in choices) for row in rows)
    for index, combination in enumerate(combinations):
        own = [row for row in rows if tuple(row[name] for name in choices) == combination]
        name = ", ".join(combination)
        style: dict[str, Any] = {
            "color": _COLOURS[index % 3], "marker": _MARKERS[index % 3], "markersize": 3, "linewidth": 1.2,
        }  # fmt: skip
        values = [row[control] for row in own]
        for (key, label), line in zip(drawn, _STYLES, strict=False):
            text = f"{label}, {name}" if name else label
            scores.plot(values, [factor * row[key] for row in own], label=text, linestyle=line, **style)
        spreads = [row["milliseconds"] for row in own]
        times.plot(values, [one["median"] for one in spreads], label=name or "time", **style)
        low, high = [one["low"] for one in spreads], [one["high"] for one in spreads]
        times.fill_between(values, low, high, color=style["color"], alpha=0.15, lw=0)
    unit = " (%)" if factor == 100 else ""
    _finish(scores, " and ".join(label for _, label in drawn) + unit, control, trained)
    _finish(times, "Time an image (ms; median, quartiles)", control, trained)
    if remark:
        figure.supxlabel(remark, fontsize=5.5, color=FAINT, parse_math=False)
    return figure


def _finish(axes: Axes, title: str, control: str, trained: float) -> None:
    axes.axvline(trained, color=FAINT, linestyle=":", linewidth=0.8, label="as trained")
    axes.set_title(title, fontsize=8, color=INK, pad=4)
    axes.set_xlabel(control.replace("_", " "), fontsize=7, color=INK, labelpad=2)
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.tick_params(labelsize=6, length=2, width=0.5, colors=INK)
    axes.grid(alpha=0.2, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(linewidth=0.5, color=FAINT)
    axes.legend(fontsize=6, frameon=False, labelcolor=INK, handlelength=2.8)
