"""`sparsevision models`: the models, their sizes and their weights."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter


def models(pattern: str = "*", *, json_: Annotated[bool, Parameter(name="--json", negative="")] = False) -> int:
    """List the models, their sizes and their weights.

    The column "reported" has what the authors of the weights report, in percent: a classifier's top-1 accuracy on
    ImageNet-1K, a detector's average precision (AP) on COCO val2017.

    Args:
        pattern: A glob pattern that names must fit; one that begins with "timm/" lists models of timm's.
        json_: Print one JSON object a line instead of a table.
    """
    import sys

    from rich.console import Console
    from rich.table import Table

    from sparsevision.factory import summarise_models

    found = summarise_models(pattern)
    if json_:
        for summary in found:
            print(json.dumps(asdict(summary)))
        return 0
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "task", "parameters", "input", "weights", "reported", "paper"):
        table.add_column(heading, justify="right" if heading == "parameters" else "left", overflow="fold")
    for summary in found:
        table.add_row(
            summary.name,
            summary.task,
            f"{summary.parameters:,}" if summary.parameters is not None else "",
            "x".join(str(side) for side in summary.input_size),
            summary.weights,
            f"{summary.reported:.1f}" if summary.reported is not None else "",
            summary.paper.removeprefix("arXiv "),
        )
    # A pipe has no width that a table would have to fit.
    Console(width=None if sys.stdout.isatty() else 1000).print(table)
    return 0
