"""What a trained detector finds and counts on nuclei, beside the segmenters' counts of connected areas.

    python benchmarks/nuclei_boxes.py NUCLEI runs/nuclei_boxes

Run after `segmenters.py nuclei`, whose counts of the same images it repeats. Weights and threshold were chosen on val;
test is read once, here. Writes `results/nuclei_boxes.md` and `.json`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cyclopts
import numpy as np

from publishing import minutes_of, publish, published, trained_on
from segmenters import LEAST_AREA, kinds_of, true_count
from sparsevision import Predictor
from sparsevision.evaluation.evaluate import evaluate
from sparsevision.factory import load_model
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.report import markdown_table
from sparsevision.models.published import count_parameters
from sparsevision.tasks.detection.task import DetectionTask


def main(data: Path, run: Path, *, split: str = "test", out: Path = Path("benchmarks/results")) -> None:
    """Score a run's best weights, and let them count."""
    report, _ = evaluate(run / "best", str(data), split=split)
    dataset = DetectionTask.open(str(data), split)
    kinds = kinds_of(data / "annotations" / f"{split}.json")
    images = [dataset.read(index).image for index in range(len(dataset))]
    stems = [Path(name).name for name in dataset.names]
    truth = [true_count(data / split / "instances" / f"{Path(stem).stem}.png") for stem in stems]
    found = [len(result.labels) for result in Predictor(run / "best", "cpu").stream(images)]
    errors = [abs(one - true) for one, true in zip(found, truth, strict=True)]
    shares = [error / max(true, 1) for error, true in zip(errors, truth, strict=True)]
    model = load_model(run)
    rows, record = [], []
    for group in ("all", *sorted({*kinds.values()})):
        chosen = [place for place, stem in enumerate(stems) if group in ("all", kinds[stem])]
        own = [errors[place] for place in chosen]
        rows.append(
            (
                model.identity.name, group, str(len(chosen)), f"{report.ap50:.1%}" if group == "all" else "",
                f"{np.mean(own):.2f}", f"{np.mean([shares[place] for place in chosen]):.1%}",
            )
        )  # fmt: skip
        record.append({"name": model.identity.name, "kind": group, "errors": own})
    rows += [_beside(row) for row in published(out, "nuclei")]
    how = (
        f"{describe_machine()}.\n\nNuclei (BBBC038, corrected), {len(images)} {split} images, read once. The detector "
        f"({count_parameters(model) / 1e6:.2f} M parameters, {model.config.num_queries} queries) was trained on 435 "
        f"from an ImageNet backbone, in {minutes_of(run)} minutes on {trained_on(run)}; AP {report.ap:.1%}, AP50 "
        f"{report.ap50:.1%}. It counts its boxes from its threshold on; the others count connected areas of at least "
        f"{LEAST_AREA} pixels ([their table](nuclei.md)). An error is the difference from the number of annotated "
        "nuclei of that size."
    )
    columns = ("method", "images", "number", "AP50", "error of the count", "relative")
    publish(
        out, "nuclei_boxes", "\n".join(("# Counting nuclei", "", how, "", *markdown_table(columns, rows))),
        {"ap": report.ap, "ap50": report.ap50, "counts": record},
    )  # fmt: skip


def _beside(row: dict[str, Any]) -> tuple[str, ...]:
    errors = row["errors"]
    return (row["name"], row["kind"], str(len(errors)), "", f"{np.mean(errors):.2f}", "")


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    app()
