"""`sparsevision evaluate`: the accuracy of a checkpoint on an annotated data set."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from sparsevision.cli.names import report_skipped, sentence
from sparsevision.cli.tables import print_table, progress_bar
from sparsevision.errors import ConfigError
from sparsevision.files import OutputFolder, check_new, names_of, replacing
from sparsevision.wording import count_of

if TYPE_CHECKING:
    from sparsevision.evaluation.evaluate import Evaluation
    from sparsevision.evaluation.sweep import Sweep
    from sparsevision.tasks import Report
    from sparsevision.types import Skipped

_OWN = ("data", "split", "batch-size", "workers", "device", "json", "out", "overwrite")
_TABLE, _FIGURE = "sweep.json", "sweep.png"  # of a sweep


def evaluate(
    checkpoint: str, *, data: str, split: Literal["train", "val", "test", "all"] | None = None,
    batch_size: int | None = None, workers: int = 0, device: str | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False, out: Path | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    **options: Annotated[list[str], Parameter(consume_multiple=True)],
) -> int:  # fmt: skip
    """Score a checkpoint on an annotated data set, or sweep it over values of its controls.

    The report is that of the model's task: accuracies and confusions of a classifier, COCO's average precision and
    counts of a detector. Several values of a control or a choice, or --out: a sweep, in which every image passes
    through all settings in turn.

    Args:
        checkpoint: A run folder, a checkpoint folder or file, or a model's name for its published weights.
        data: A folder of class folders (with train/ and val/ or without), of images or of videos; images with boxes in
            COCO's, YOLO's or Pascal VOC's layout; images with masks; tar shards; "digits"; "digit-scenes:PHOTOGRAPHS".
        split: The part of the data set. Default: val (held out of train where nothing is called val); everything in a
            data set that is not divided, unless the model was trained on it.
        batch_size: Images that are run together, where they have one size. Default: the task's own number.
        workers: Processes that read images.
        device: cpu, cuda, cuda:1, ... Default: a GPU if there is one.
        json_: Print one JSON object with everything instead of tables.
        out: Sweep, and write sweep.json and sweep.png into this folder.
        overwrite: Replace files that exist already. Files that are read are never replaced.
        options: Values of the model's controls and choices, of the task's views (--clips and --crops of videos), and
            files of the task's report, each by its name: `sparsevision models MODEL` lists them. Default in a sweep:
            the first control's range, and all values of choices.
    """
    from sparsevision.data.dataset import files_of
    from sparsevision.evaluation.evaluate import Evaluation
    from sparsevision.inference.options import options_of, resolve_options
    from sparsevision.types import TextOption

    evaluation = Evaluation(checkpoint, data, split=split, device=device)
    files = [TextOption(name, None, each.description) for name, each in evaluation.task.report_writers.items()]
    task, model = evaluation.task, evaluation.model
    known = [*task.view_options.values(), *options_of(model).values(), *files]
    chosen, writers = resolve_options(options, known, others=_OWN), task.report_writers
    controls = {name: values for name, values in chosen.items() if name not in writers}
    written = {name: _only_path(name, values) for name, values in chosen.items() if name in writers}
    read = files_of(evaluation.dataset)
    if out is not None or any(len(values) > 1 for values in controls.values()):
        if written or batch_size is not None:
            raise ConfigError("A sweep runs images one by one and writes its own files: omit --batch-size and reports.")
        folder = None if out is None else OutputFolder(out, "evaluate", overwrite=overwrite, inputs=names_of(out, read))
        return _sweep(evaluation, controls, workers, json_, folder)
    for path in written.values():
        check_new(path, overwrite=overwrite, inputs=(checkpoint, data, *read))
    with progress_bar("scoring") as progress:
        single = {name: values[0] for name, values in controls.items()}
        report, skipped = evaluation.report(batch_size, workers, progress, **single)
    for name, path in written.items():
        writers[name].write(report, path)
    _print(report, task.things, evaluation.dataset.origin, skipped, json_)
    if evaluation.note:
        print(f"Note: {evaluation.note}", file=sys.stderr)
    report_skipped(skipped, report.images)
    return 0


def _only_path(name: str, values: Sequence[str]) -> Path:
    if len(values) > 1:
        raise ConfigError(f"--{name} writes one file and was given {len(values)}: {', '.join(values)}.")
    return Path(values[0])


def _print(report: Report, things: str, origin: str, skipped: Sequence[Skipped], json_: bool) -> None:
    if json_:
        unread = [{"name": item.name, "reason": item.reason} for item in skipped]
        scored = {"images": report.images, "of": origin}
        print(json.dumps({**report.to_dict(), "scored": scored, "skipped": unread}))
        return
    print(f"Scored: {report.images:,} {things} of {sentence(origin)}.")
    for table in report.tables():
        print_table(table)


def _sweep(
    evaluation: Evaluation, controls: Mapping[str, Sequence[Any]], workers: int, json_: bool,
    out: OutputFolder | None,
) -> int:  # fmt: skip
    from sparsevision.evaluation.sweep import sweep_controls

    if out is not None:
        # Made before the work is done: what is wrong with the folder is reported here.
        out.make()
        for name in (_TABLE, _FIGURE):
            out.check(name)
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


def _write_sweep(found: Sweep, out: OutputFolder) -> None:
    from sparsevision.explain import save_figure, sweep_figure

    with out.writing(_TABLE) as path, replacing(path) as part:
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
        remark=f"{count_of(found.images, 'image')} of {found.data}; {found.machine.processor}",
    )  # fmt: skip
    with out.writing(_FIGURE) as path:
        save_figure(figure, path)
