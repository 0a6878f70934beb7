"""Scores finished detectors of blood cells side by side on the test split, and lets them count.

    python benchmarks/bccd.py BCCD runs/bccd-0 runs/bccd-1 runs/bccd-dense runs/bccd-faster-rcnn

Every run's best weights and its thresholds were chosen on val; test is read once per run, here. Writes
`results/bccd.md`, `.json` and `bccd_counts.csv`, the counts of every image; rows of other runs stay in them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cyclopts
import torch
from safetensors.torch import load_file

from faster_rcnn import PEER, Peer
from publishing import publish, published, trained_on
from sparsevision.checkpoints.description import Description, parse_description
from sparsevision.data.loading import make_loader
from sparsevision.factory import load_model
from sparsevision.measure.report import markdown_table
from sparsevision.models.published import count_parameters
from sparsevision.tasks.detection.metrics import ClassReport
from sparsevision.tasks.detection.task import DetectionTask
from sparsevision.training import read_recipe
from sparsevision.training.run_folder import read_metrics


@dataclass(frozen=True)
class Row:
    """One run: what it cost, its best score on val and its score on test, shares of 1; and what it counted there."""

    run: str
    model: str
    seed: int
    parameters: int
    epochs: int
    best_epoch: int
    hours: float
    trained_on: str
    val_ap: float
    val_ap50: float
    images: int
    ap: float
    ap50: float
    per_class: list[dict[str, Any]]


@dataclass(frozen=True)
class Count:
    """How many objects of a class an image has, and how many a run found from the class's threshold on."""

    run: str
    image: str
    name: str
    true: int
    found: int


def main(data: str, *runs: Path, out: Path = Path("benchmarks/results")) -> None:
    """Score the best weights of every run folder on the test split of `data`."""
    found = [Row(**row) for row in published(out, "bccd")]
    counts = [*_known_counts(out / "bccd_counts.csv")]
    for run in runs:
        row, counted = measure(run, data)
        found.append(row)
        counts = [count for count in counts if count.run != row.run] + counted
    rows = list({row.run: row for row in found}.values())
    publish(out, "bccd", "\n".join(_lines(rows)), [asdict(row) for row in rows])
    with (out / "bccd_counts.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(Count.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(asdict(count) for count in counts)


def measure(run: Path, data: str) -> tuple[Row, list[Count]]:
    """Scores one run folder."""
    recipe = read_recipe(run / "recipe.toml")
    model, described = load_run(run)
    assert described.class_metadata is not None
    dataset = DetectionTask.open(data, "test")
    own_numbers = DetectionTask.metadata_of(dataset)
    task = DetectionTask(dataset.classes, replace(own_numbers, thresholds=described.class_metadata.thresholds))
    metrics, counts = task.metrics(), []
    transform = task.evaluation_transform(described.preprocessing)
    loader = make_loader(dataset, transform, task.collate, batch_size=1)
    with torch.inference_mode():
        for batch in loader:
            output = model(batch.images)
            metrics.update(output, batch)
            [target], [result] = batch.targets, task.results(output, batch)
            for label, name in enumerate(task.classes):
                true = int((target["labels"] == label).sum())
                counts.append(Count(run.name, Path(str(batch.names[0])).name, name, true, result.labels.count(name)))
    report = metrics.compute()
    lines = read_metrics(run)
    best = max((line for line in lines if line["kind"] == "val"), key=lambda line: line["ap"])
    row = Row(
        run=run.name,
        model=recipe.model.name,
        seed=recipe.run.seed,
        parameters=count_parameters(model),
        epochs=recipe.schedule.epochs,
        best_epoch=best["epoch"],
        hours=[line for line in lines if line["kind"] == "train"][-1]["seconds"] / 3600,
        trained_on=trained_on(run),
        val_ap=best["ap"],
        val_ap50=best["ap50"],
        images=report.images,
        ap=report.ap,
        ap50=report.ap50,
        per_class=[asdict(one) for one in report.per_class],
    )
    return row, counts


def load_run(run: Path) -> tuple[Any, Description]:
    """Returns a run's best weights as a model that predicts, and what is kept beside them."""
    described = parse_description((run / "best" / "config.json").read_text(encoding="utf-8"), str(run))
    if read_recipe(run / "recipe.toml").model.name != PEER:
        return load_model(run / "best").eval(), described
    assert described.labels is not None
    peer = Peer(len(described.labels))
    peer.load_state_dict(load_file(run / "best" / "model.safetensors"))
    return peer.eval(), described


def _lines(rows: list[Row]) -> Iterator[str]:
    names = [one["name"] for one in rows[0].per_class]
    yield f"# Blood cells (BCCD), {rows[0].images} images of test\n"
    columns = (
        "model", "seed", "parameters M", "epochs", "hours", "trained on", "val AP", "val AP50", "test AP", "test AP50",
    )  # fmt: skip
    scores = [
        (
            row.model, str(row.seed), f"{row.parameters / 1e6:.2f}", str(row.epochs), f"{row.hours:.1f}",
            row.trained_on,
            *(f"{value:.1%}" for value in (row.val_ap, row.val_ap50, row.ap, row.ap50)),
            *(f"{one['ap50']:.1%}" for one in row.per_class),
        )
        for row in rows
    ]  # fmt: skip
    yield from markdown_table((*columns, *(f"{name} AP50" for name in names)), scores)
    yield (
        "\nCounts on test, from each class's threshold on, which was chosen on val: objects found, of those in truth; "
        "and by how many an image's count is off, on average.\n"
    )
    columns = ("model", "seed", *(f"{name}: found of true, error" for name in names))
    counted = [(row.model, str(row.seed), *map(_count, row.per_class)) for row in rows]
    yield from markdown_table(columns, counted)


def _count(values: dict[str, Any]) -> str:
    one = ClassReport(**values)
    return f"{one.found:,} of {one.objects:,}, {one.count_error:.2f}"


def _known_counts(path: Path) -> Iterator[Count]:
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                yield Count(line["run"], line["image"], line["name"], int(line["true"]), int(line["found"]))


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    app()
