"""How the tokens that an encoder updates are best chosen: trainings that differ in that alone, at several keep ratios.

    python benchmarks/token_choice.py BCCD runs/dam runs/salience runs/objectness runs/random

Every run is scored on val at each ratio, and it is measured how much of the decoder's reading falls on updated tokens.
Writes `results/token_choice.md` and `.json`, and a figure of the documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cyclopts
import numpy as np
from matplotlib.figure import Figure

from publishing import publish
from sparsevision import Predictor
from sparsevision.evaluation.sweep import sweep
from sparsevision.explain.levels import levels_of
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.report import markdown_table
from sparsevision.tasks.detection.task import DetectionTask

KEEP_RATIOS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)


def main(
    data: str, *runs: Path, out: Path = Path("benchmarks/results"), figures: Path = Path("docs/_static/figures")
) -> None:
    """Score the best weights of runs of one recipe."""
    dataset = DetectionTask.open(data, "val")
    images = [dataset.read(index).image for index in range(len(dataset))]
    rows = [row for run in runs for row in scored(run / "best", data, images)]
    how = (
        f"{describe_machine()}.\n\nTrained by one recipe, the choice apart, and scored on the {len(images)} images of "
        "val with the weights that were best at the ratio of the training. Held: the share of the decoder's reading "
        "that falls on updated tokens."
    )
    table = markdown_table(
        ("choice", "keep ratio", "AP", "AP50", "held"),
        [(row["selection"], f"{row['keep_ratio']:g}", *(f"{row[name]:.1%}" for name in ("ap", "ap50", "held")))
         for row in rows],
    )  # fmt: skip
    publish(out, "token_choice", "\n".join(("# Choices of the tokens to update", "", how, "", *table)), rows)
    draw(rows, figures / "token-choice.png")


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws AP and the share of reading against the ratio, a line for each choice."""
    figure = Figure(figsize=(6.9, 2.8), facecolor="white", layout="constrained")
    choices = [*dict.fromkeys(row["selection"] for row in rows)]
    for axes, measure, title in zip(
        figure.subplots(1, 2),
        ("ap", "held"),
        ("AP on val (%)", "reading held (%)"),
        strict=True,
    ):
        for choice, marker in zip(choices, "osD^v", strict=False):
            own = [row for row in rows if row["selection"] == choice]
            axes.plot(
                [row["keep_ratio"] for row in own], [100 * row[measure] for row in own], marker=marker, markersize=3,
                linewidth=1.2, label=choice,
            )  # fmt: skip
        axes.axvline(rows[0]["trained"], color="grey", linestyle=":", linewidth=0.8, label="as trained")
        axes.set(xlabel="share of tokens that are updated", xlim=(0, 1.02), ylim=(0, None))
        axes.set_title(title, fontsize=9)
        axes.grid(alpha=0.2, linewidth=0.5)
        axes.legend(fontsize=7, frameon=False)
    figure.savefig(path, dpi=150)


def scored(checkpoint: Path, data: str, images: Sequence[Any]) -> list[dict[str, Any]]:
    """Returns a row for each ratio."""
    predictor = Predictor(checkpoint, "cpu")
    chosen = predictor.model.config.selection
    found = sweep(checkpoint, data, values={"keep_ratio": KEEP_RATIOS, "selection": (chosen,)})
    rows = []
    for row in found.rows:
        ratio = float(row.settings["keep_ratio"])
        traces = (predictor(image, trace=("level_maps", "kept"), keep_ratio=ratio).trace for image in images)
        held = float(np.mean([levels_of(trace, "val").captured for trace in traces]))
        # Runs are scored one after another, so that their times are not compared.
        scores = {name: value for name, value in row.to_dict().items() if name != "milliseconds"}
        rows.append({**scores, "held": held, "trained": found.trained["keep_ratio"]})
    return rows


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    app()
