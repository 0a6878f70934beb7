"""`sparsevision models`: the models, their sizes and their weights."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from sparsevision.cli.tables import print_table
from sparsevision.types import Table


def models(pattern: str = "*", *, json_: Annotated[bool, Parameter(name="--json", negative="")] = False) -> int:
    """List the models, their sizes and their weights.

    The column "reported" has what the authors of the weights report, in percent: a classifier's top-1 accuracy on
    ImageNet-1K, a detector's average precision (AP) on COCO val2017.

    Args:
        pattern: A glob pattern that names must fit; one that begins with "timm/" lists models of timm's.
        json_: Print one JSON object a line instead of a table.
    """
    from sparsevision.factory import summarise_models

    found = summarise_models(pattern)
    if json_:
        for summary in found:
            print(json.dumps(asdict(summary)))
        return 0
    columns = ("model", "task", "parameters", "input", "weights", "reported", "paper")
    rows = tuple(
        (
            each.name,
            each.task,
            "" if each.parameters is None else f"{each.parameters:,}",
            "x".join(map(str, each.input_size)),
            each.weights,
            "" if each.reported is None else f"{each.reported:.1f}",
            each.paper.removeprefix("arXiv "),
        )
        for each in found
    )
    print_table(Table(columns=columns, rows=rows, numbers=frozenset({2})), pipe_width=1000)
    return 0
