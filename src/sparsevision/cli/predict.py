"""`sparsevision predict`: name what pictures show; or write their features."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sparsevision.cli.names import printable, refuse_options, report_left_out
from sparsevision.errors import ConfigError, naming

if TYPE_CHECKING:
    from sparsevision.types import Classification, Skipped


def predict(
    *pictures: Annotated[str, Parameter(allow_leading_hyphen=True)],
    model: str = "sparseformer_nano",
    top_k: int = 5,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
    features: Path | None = None,
    batch_size: int = 16,
    device: str | None = None,
) -> int:
    """Name what pictures show; or write their features.

    Parameters
    ----------
    pictures
        Files, folders, glob patterns, or - for a list of paths on standard input.
    model
        A checkpoint (folder or file), a run's best/ folder, or a model's name for its published weights.
    top_k
        How many classes to name for each picture.
    json_
        Print one JSON object a line instead of a table.
    features
        Write the pooled features of every picture into this .parquet or .npz file.
    batch_size
        Pictures that are run together.
    device
        cpu, cuda, cuda:1, ... Default: a GPU if there is one.
    """
    import sys

    from rich.console import Console

    if not pictures:
        raise ConfigError("No pictures were given: name files, folders or patterns, or - to read a list of paths.")
    refuse_options(pictures, ("--model", "--top-k", "--json", "--features", "--batch-size", "--device", "--debug"))

    from sparsevision.inference import Predictor
    from sparsevision.inference.features import FeatureFile
    from sparsevision.inference.finding import find_pictures

    predictor = Predictor(model, device, batch_size=batch_size)
    skipped: list[Skipped] = []
    with ExitStack() as stack:
        if features is not None:
            stack.enter_context(naming(features))
        file = stack.enter_context(FeatureFile(features)) if features is not None else None
        paths = find_pictures(pictures, sys.stdin.buffer, skipped)
        results = _counted(predictor.stream(paths, top_k=top_k, features=file is not None), Console(stderr=True))
        kept = results if file is None else file.passing(results)
        number = _print_lines(kept) if json_ else _print_table(kept, embeds=not predictor.labels)
    report_left_out(skipped + predictor.skipped, number)
    return 0


def _counted(results: Iterable[Classification], console: object) -> Iterator[Classification]:
    """Passes results on and shows their number on a terminal's stderr while they come."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    assert isinstance(console, Console)
    columns = (SpinnerColumn(), TextColumn("pictures"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("pictures", total=None)
        for result in results:
            progress.advance(task)
            yield result


def _print_lines(results: Iterable[Classification]) -> int:
    printed = 0
    for result in results:
        print(json.dumps(result.to_dict()), flush=True)
        printed += 1
    return printed


def _print_table(results: Iterable[Classification], *, embeds: bool) -> int:
    """Prints a row a picture; file names are shown as they are, however long they or the list may be."""
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("picture", overflow="fold")
    table.add_column("embedding" if embeds else "classes", overflow="fold")
    for result in results:
        named = (
            "written"
            if embeds
            else ", ".join(f"{label} {score:.3f}" for label, score in zip(result.labels, result.scores, strict=True))
        )
        table.add_row(Text(printable(result.name)), Text(printable(named)))
    if table.row_count:
        # A pipe has no width; a file name broken in two would be of no use there.
        Console(width=None if sys.stdout.isatty() else 10_000).print(table)
    return table.row_count
