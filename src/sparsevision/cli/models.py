"""`sparsevision models`: the models, their sizes and their weights."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sparsevision.cli.tables import print_table
from sparsevision.errors import ConfigError
from sparsevision.types import Choice, Control, Option, Table

if TYPE_CHECKING:
    from sparsevision.factory import ModelSummary


def models(
    pattern: str = "*", *, formats: Annotated[bool, Parameter(negative="")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:  # fmt: skip
    """List the models, their sizes and their weights; of a single one, its options too.

    The column "weights" tells where those of a model lie, and the tags of all that there are: NAME.TAG names one, and
    NAME means the first. The column "reported" has what the authors of the weights report, in percent: a classifier's
    top-1 accuracy on ImageNet-1K, a detector's average precision (AP) on COCO val2017.

    Args:
        pattern: A glob pattern that names must fit, with a full stop in it names with tags; one that begins with
            "timm/" lists models of timm's.
        formats: Tell instead what each model is exported as: the sides of its images, the precisions of each format.
        json_: Print one JSON object a line instead of a table.
    """
    from sparsevision.factory import summarise_models

    if formats:
        return _tell_formats(pattern, json_=json_)
    found = summarise_models(pattern)
    options = _options(found[0]) if len(found) == 1 else None
    if json_:
        more = {} if options is None else {"options": [asdict(option) for option in options]}
        for summary in found:
            print(json.dumps({**asdict(summary), **more}))
        return 0
    columns = ("model", "task", "parameters", "input", "weights", "reported", "paper")
    rows = tuple(
        (
            each.name,
            each.task,
            "" if each.parameters is None else f"{each.parameters:,}",
            "x".join(map(str, each.input_size)),
            f"{each.weights} ({', '.join(each.tags)})" if each.tags and "." not in each.name else each.weights,
            "" if each.reported is None else f"{each.reported:.1f}",
            each.paper.removeprefix("arXiv "),
        )
        for each in found
    )
    print_table(Table(columns=columns, rows=rows, numbers=frozenset({2})), pipe_width=1000)
    if options is not None:
        print_table(_table_of(found[0], options), pipe_width=1000)
    return 0


def _tell_formats(pattern: str, *, json_: bool) -> int:
    from sparsevision.export.support import support_of, support_table
    from sparsevision.factory import fitting_models

    if pattern.startswith("timm/"):
        raise ConfigError("timm exports its own models: --formats is of this package's.")
    names = fitting_models(pattern)
    if json_:
        for name in names:
            for each in support_of(name):
                print(json.dumps(each._asdict()))
        return 0
    print_table(support_table(names), pipe_width=1000)
    return 0


def _options(summary: ModelSummary) -> list[Option]:
    """Returns what may be given per call: the controls and choices of a model, and the options of its task."""
    import torch

    from sparsevision.factory import create_model
    from sparsevision.inference.options import options_of
    from sparsevision.tasks import task_named

    with torch.device("meta"):  # without weights: their values do not matter
        model = create_model(summary.name)
    # Defaults depend on the number of classes.
    classes = tuple(map(str, range(summary.classes)))
    task = task_named(summary.task)(classes)
    return [*options_of(model).values(), *task.options.values(), *task.view_options.values()]


def _table_of(summary: ModelSummary, options: list[Option]) -> Table:
    from sparsevision.inference.options import flag
    from sparsevision.tasks import task_named

    rows = []
    for option in options:
        values = "text"
        if isinstance(option, Choice):
            values = ", ".join(option.values)
        elif isinstance(option, Control):
            values = f"{option.minimum:,.9g} to {option.maximum:,.9g}"
        default = option.default if isinstance(option.default, str) else f"{option.default or 0:g}"
        rows.append((flag(option.name), values, default, option.description))
    kind = task_named(summary.task)
    for name, entry in kind.writers.items():
        rows.append(
            (flag(name), f"path of a {'folder' if entry.folder else 'file'}", "", f"predict: {entry.description}")
        )
    for name, written in kind.report_writers.items():
        rows.append((flag(name), "path of a file", "", f"evaluate: {written.description}"))
    return Table(columns=("option", "values", "default", "meaning"), rows=tuple(rows))
