"""Scores finished runs side by side: nano and its peers, trained alike by the recipes caltech101_*.

    python benchmarks/caltech101.py CALTECH101 runs/teacher runs/nano runs/resnet18 runs/deit

Reads the val split once per run, with the averaged weights of the last epoch where the run keeps an average: nothing is
chosen by what is read here. Writes `results/caltech101.md` and `.json`; rows of other models and lengths stay in them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import cyclopts

from publishing import publish, published
from sparsevision.checkpoints.saving import save_checkpoint
from sparsevision.evaluation.evaluate import evaluate
from sparsevision.factory import identity_of, load_model
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.operations import count_macs
from sparsevision.measure.report import markdown_table
from sparsevision.models.published import count_parameters
from sparsevision.training import read_recipe
from sparsevision.training.run_folder import read_metrics
from sparsevision.training.state import part, read_state


@dataclass(frozen=True)
class Row:
    """One run: what it cost and what it knows; shares of 1, MACs of one image at the size it was trained at."""

    model: str
    parameters: int
    macs: int
    size: int
    epochs: int
    hours: float
    images: int
    top1: float
    top5: float
    mean_class: float


def main(data: str, *runs: Path, out: Path = Path("benchmarks/results")) -> None:
    """Score the last weights of every run folder on the val split of `data`."""
    found = [*(Row(**row) for row in published(out, "caltech101")), *(measure(run, data) for run in runs)]
    rows = list({(row.model, row.epochs): row for row in found}.values())
    columns = ("model", "parameters M", "GMACs", "size", "epochs", "hours", "top-1", "top-5", "mean over classes")
    table = [
        (
            row.model.removeprefix("timm/"), f"{row.parameters / 1e6:.2f}", f"{row.macs / 1e9:.2f}", f"{row.size} px",
            str(row.epochs), f"{row.hours:.1f}", f"{row.top1:.1%}", f"{row.top5:.1%}", f"{row.mean_class:.1%}",
        )
        for row in rows
    ]  # fmt: skip
    head = f"# Caltech-101, {rows[0].images} images of val\n\n{describe_machine()}.\n"
    publish(out, "caltech101", "\n".join([head, *markdown_table(columns, table)]), [asdict(row) for row in rows])


def measure(run: Path, data: str) -> Row:
    """Scores one run folder."""
    recipe = read_recipe(run / "recipe.toml")
    weights = last_weights(run)
    report, _ = evaluate(weights, data)
    network, size = load_model(weights), recipe.transforms.size
    lines = [line for line in read_metrics(run) if line["kind"] == "train"]
    return Row(
        model=recipe.model.name,
        parameters=count_parameters(network),
        macs=count_macs(network, (3, size, size)).total,
        size=size,
        epochs=recipe.schedule.epochs,
        hours=lines[-1]["seconds"] / 3600,
        images=report.images,
        top1=report.top1,
        top5=report.top5,
        mean_class=report.mean_class,
    )


def last_weights(run: Path) -> Path:
    """Writes the last epoch's weights as a checkpoint folder beside best/, and returns it."""
    found = read_state(run / "last")
    if found is None:
        raise SystemExit(f"{run} has no last state: was it trained to its end?")
    tensors, _ = found
    model = load_model(run / "best")
    identity = identity_of(model)
    model.load_state_dict(part("ema", tensors) or part("learner.model", tensors))
    return save_checkpoint(
        run / "last-weights", model, name=identity.name, preprocessing=identity.preprocessing, labels=identity.labels
    )


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    app()
