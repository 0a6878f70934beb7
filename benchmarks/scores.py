"""Scores weights on one split, class by class: those that come with the package, and runs that the pages speak of.

    python benchmarks/scores.py sparse_detr_nano.bccd BCCD --split test
    python benchmarks/scores.py runs/scenes_detector digit-scenes:PHOTOGRAPHS

Writes `results/scores.md` and `.json`; rows of other weights and splits stay in them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cyclopts

from publishing import publish, published
from sparsevision.evaluation.evaluate import evaluate
from sparsevision.factory import open_model
from sparsevision.measure.report import markdown_table
from sparsevision.models.published import count_parameters

CLASS = ("name", "objects", "found", "count_error", "threshold", "f1", "ap", "ap50")


def main(model: str, data: str, *, split: str = "val", out: Path = Path("benchmarks/results")) -> None:
    """Score a shipped model or a run folder on one split."""
    name = Path(model).name
    shown = f"{data.partition(':')[0]}:PHOTOGRAPHS" if ":" in data else Path(data).name
    key = (name, shown, split)
    rows = [row for row in published(out, "scores") if (row["model"], row["data"], row["split"]) != key]
    report, _ = evaluate(model, data, split=split)
    opened = open_model(model)
    rows.append(
        {
            "model": name, "network": opened.identity.name.partition(".")[0], "split": split, "images": report.images,
            "data": shown, "parameters": count_parameters(opened), "report": report.to_dict(),
            "measures": {key: value for key, value in report.scalars().items() if isinstance(value, float)},
        }
    )  # fmt: skip
    rows.sort(key=lambda row: (row["model"], row["split"]))
    publish(out, "scores", "\n".join(told(rows)), rows)


def told(rows: list[dict[str, Any]]) -> list[str]:
    """Returns the lines of the page."""
    lines = ["# Scores, class by class", "", "By `benchmarks/scores.py`; everything is in the json."]
    for row in rows:
        lines += ["", f"## {row['model']}: {row['data']}, {row['split']}", ""]
        lines += [f"`{row['network']}`, {row['parameters']:,} parameters; {row['images']:,} images.", ""]
        lines += markdown_table(
            ("measure", "value"), [(key, cell(key, value)) for key, value in row["measures"].items()]
        )
        classes = row["report"].get("per_class")
        if isinstance(classes, list) and classes and "count_error" in classes[0]:
            cells = [[cell(key, one[key]) for key in CLASS] for one in classes]
            lines += ["", *markdown_table(CLASS, cells)]
    return lines


def cell(key: str, value: Any) -> str:
    """Returns a cell's text: shares in percent."""
    if value is None or not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:.4f}" if key in ("loss", "count_error", "threshold") else f"{value:.2%}"


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    app()
