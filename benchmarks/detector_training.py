"""What a change of a detector's training or size is worth: trainings of one short schedule, scored on val.

    python benchmarks/detector_training.py runs/plain runs/groups runs/denoising --name bccd_training

Runs are finished run folders of one data set. What differs from the first run's recipe is read from the recipes; score
and time to a score from the log that training wrote. Networks of other shapes are timed in turns, with packed weights.
Writes `results/NAME.md` and `.json`; rows of other runs stay in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cyclopts
import numpy as np

from claims import milliseconds
from publishing import publish, published, trained_on
from sparsevision.factory import load_model
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.operations import count_macs
from sparsevision.measure.report import markdown_table
from sparsevision.models.published import count_parameters
from sparsevision.training import read_recipe
from sparsevision.training.run_folder import read_metrics
from turns import times_in_turns

REACHED = (0.80, 0.85)  # AP50
# Values of a recipe that say where a run was made, and not how: a machine's own, which are not kept.
_PLACES = ("run", "data.spec", "data.cache_mebibytes", "model.backbone")


@dataclass(frozen=True)
class Row:
    """One run: its recipe as flat values, its best scores on val, and what it costs.

    `minutes_to` has the minutes of training until an AP50 was first reached, None where it never was.
    """

    run: str
    recipe: dict[str, Any]
    ap: float
    ap50: float
    minutes: float
    minutes_to: dict[str, float | None]
    images_per_second: float
    parameters: int
    macs: int
    trained_on: str
    seconds: Sequence[float]


def main(
    *runs: Path, name: str, size: tuple[int, int] = (320, 427), threads: int = 2,
    out: Path = Path("benchmarks/results"),
) -> None:  # fmt: skip
    """List runs, of which the first one of all is what the others are compared with."""
    known = {row["run"]: Row(**row) for row in published(out, name)}
    times = times_in_turns(runs, threads, shape=(3, *size))
    rows = list((known | {run.name: measured(run, size, times[run]) for run in runs}).values())
    how = (
        f"Best scores on val. Times: one image of {size[0]} x {size[1]}, {threads} threads, weights packed, medians "
        "with quartiles, those of one call in turns. Trained on: "
        + "; ".join(dict.fromkeys(row.trained_on for row in rows)) + "."
    )  # fmt: skip
    reached = tuple(f"minutes to {share:.0%} AP50" for share in REACHED)
    columns = ("run", "what differs", "AP50", "AP", *reached, "minutes", "images a second", "M parameters",
               "G multiply-adds", "ms an image")  # fmt: skip
    text = [f"# Detectors: {name}", "", f"{describe_machine()}.", "", how, ""]
    text += markdown_table(columns, [_cells(row, rows[0]) for row in rows])
    publish(out, name, "\n".join(text), list(map(asdict, rows)))


def measured(run: Path, size: tuple[int, int], seconds: Sequence[float]) -> Row:
    """Reads a run folder."""
    lines = read_metrics(run)
    scored = [line for line in lines if line["kind"] == "val"]
    trained = [line for line in lines if line["kind"] == "train"]
    model = load_model(run)
    recipe = _flat(read_recipe(run / "recipe.toml").model_dump())
    return Row(
        run=run.name, recipe={name: value for name, value in recipe if not name.startswith(_PLACES)},
        ap=max(line["ap"] for line in scored), ap50=max(line["ap50"] for line in scored),
        minutes=trained[-1]["seconds"] / 60,
        minutes_to={f"{share:.0%}": _minutes_to(share, lines) for share in REACHED},
        images_per_second=float(np.median([line["images_per_second"] for line in trained])),
        parameters=count_parameters(model), macs=count_macs(model, (3, *size)).total, trained_on=trained_on(run),
        seconds=seconds,
    )  # fmt: skip


def _minutes_to(share: float, lines: Sequence[Mapping[str, Any]]) -> float | None:
    """Returns the minutes until a score was reached, by the last line of training before it."""
    seconds = 0.0
    for line in lines:
        seconds = line.get("seconds", seconds)
        if line["kind"] == "val" and line["ap50"] >= share:
            return seconds / 60
    return None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value  # as JSON gives them back


def _cells(row: Row, first: Row) -> tuple[str, ...]:
    differs = {
        name.removeprefix("model.config."): row.recipe.get(name)
        for name in row.recipe | first.recipe
        if row.recipe.get(name) != first.recipe.get(name)
    }
    reached = ["" if minutes is None else f"{minutes:.0f}" for minutes in row.minutes_to.values()]
    return (
        row.run, ", ".join(f"{name} = {value}" for name, value in differs.items()), f"{row.ap50:.1%}", f"{row.ap:.1%}",
        *reached, f"{row.minutes:.0f}", f"{row.images_per_second:.1f}", f"{row.parameters / 1e6:.2f}",
        f"{row.macs / 1e9:.2f}", milliseconds(row.seconds),
    )  # fmt: skip


if __name__ == "__main__":
    cyclopts.run(main)
