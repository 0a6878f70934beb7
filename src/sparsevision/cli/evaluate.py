"""`sparsevision evaluate`: the accuracy of a checkpoint on an annotated data set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from sparsevision.cli.names import report_skipped
from sparsevision.cli.tables import print_table, progress_bar
from sparsevision.errors import ConfigError, naming
from sparsevision.files import replacing

if TYPE_CHECKING:
    from sparsevision.evaluation.evaluate import Evaluation
    from sparsevision.evaluation.sweep import Sweep

_OWN = ("data", "split", "batch-size", "workers", "device", "json", "out")


def evaluate(
    checkpoint: str, *, data: str, split: Literal["train", "val", "test", "all"] = "val", batch_size: int | None = None,
    workers: int = 0, device: str | None = None, json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
    out: Path | None = None, **options: Annotated[list[str], Parameter(consume_multiple=True)],
) -> int:  # fmt: skip
    """Score a checkpoint on an annotated data set, or sweep it over values of its controls.

    The report is that of the model's task: accuracies and confusions of a classifier, COCO's average precision and
    counts of a detector. Several values of a control or a choice, or --out: a sweep, in which every image passes
    through all settings in turn.

    Args:
        checkpoint: A run folder, a checkpoint folder or file, or a model's name for its published weights.
        data: A folder of class folders (with train/ and val/ or without), tar shards, or "digits"; for a detector one
            in COCO's, YOLO's or Pascal VOC's layout, or "digit-scenes:PHOTOGRAPHS".
        split: The part of the data set; data sets with boxes may have "test", and have no "all".
        batch_size: Images that are run together, where they have one size. Default: the task's own number.
        workers: Processes that read images.
        device: cpu, cuda, cuda:1, ... Default: a GPU if there is one.
        json_: Print one JSON object with everything instead of tables.
        out: Sweep, and write sweep.json and sweep.png into this folder.
        options: Values of the model's controls and choices, and files of the task's report, each by its name:
            `sparsevision models MODEL` lists them. Default in a sweep: the first control's range, and all values of
            choices.
    """
    from sparsevision.evaluation.evaluate import Evaluation
    from sparsevision.inference.options import options_of, resolve_options
    from sparsevision.types import TextOption

    evaluation = Evaluation(checkpoint, data, split=split, device=device)
    files = [TextOption(name, None, each.description) for name, each in evaluation.task.report_writers.items()]
    chosen = resolve_options(options, [*options_of(evaluation.model).values(), *files], others=_OWN)
    writers = evaluation.task.report_writers
    controls = {name: values for name, values in chosen.items() if name not in writers}
    written = {name: Path(values[0]) for name, values in chosen.items() if name in writers}
    if out is not None or any(len(values) > 1 for values in controls.values()):
        if written or batch_size is not None:
            raise ConfigError("A sweep runs images one by one and writes its own files: omit --batch-size and reports.")
        return _sweep(evaluation, controls, workers, json_, out)
    with progress_bar("scoring") as progress:
        single = {name: values[0] for name, values in controls.items()}
        report, skipped = evaluation.report(batch_size, workers, progress, **single)
    for name, path in written.items():
        writers[name].write(report, path)
    if json_:
        unread = [{"name": item.name, "reason": item.reason} for item in skipped]
        print(json.dumps({**report.to_dict(), "skipped": unread}))
    else:
        for table in report.tables():
            print_table(table)
    report_skipped(skipped, report.images)
    return 0


def _sweep(
    evaluation: Evaluation, controls: Mapping[str, Sequence[Any]], workers: int, json_: bool, out: Path | None
) -> int:
    from sparsevision.evaluation.sweep import sweep_controls

    if out is not None:
        # Made before the work is done: what is wrong with the folder is reported here.
        with naming(out):
            out.mkdir(parents=True, exist_ok=True)
    with progress_bar("sweeping") as progress:
        found = sweep_controls(evaluation, controls, workers=workers, progress=progress)
    if out is not None:
        _write_sweep(found, out)
    if json_:
        print(json.dumps(found.to_dict()))
    else:
        print_table(found.table())
    report_skipped(found.skipped, found.images)
    return 0


def _write_sweep(found: Sweep, out: Path) -> None:
    from sparsevision.explain import save_figure, sweep_figure

    with replacing(out / "sweep.json") as part:
        part.write_text(json.dumps(found.to_dict(), indent=1), encoding="utf-8")
    settings = list(found.rows[0].settings)
    rows = [row.to_dict() for row in found.rows]
    choices = [name for name in settings if isinstance(found.trained[name], str)]
    controls = [name for name in settings if name not in choices]
    if not controls:
        return  # a figure needs a number along its axis
    control = controls[-1]
    figure = sweep_figure(
        rows, control, float(found.trained[control]), choices=choices,
        measures={measure.name: measure.label for measure in found.measures},
        factor=100.0 if found.measures[0].percent else 1.0,
        remark=f"{found.images} images of {found.data}; {found.machine.processor}",
    )  # fmt: skip
    save_figure(figure, out / "sweep.png")
