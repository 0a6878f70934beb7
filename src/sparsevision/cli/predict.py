"""`sparsevision predict`: name what pictures show, or find and count objects in pictures and videos."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from sparsevision.cli.names import printable, refuse_options, report_left_out
from sparsevision.errors import ConfigError, naming

if TYPE_CHECKING:
    from rich.table import Table

    from sparsevision.inference import Predictor
    from sparsevision.inference.sinks import Sink
    from sparsevision.types import Classification, DetectionResult, Result, Skipped

_OPTIONS = (
    "--model", "--top-k", "--threshold", "--keep-ratio", "--json", "--features", "--coco", "--annotations", "--draw",
    "--batch-size", "--device", "--debug",
)  # fmt: skip
# A table has a column for each class where there are no more than this; otherwise it lists what is found.
_COLUMNS = 8


def predict(
    *pictures: Annotated[str, Parameter(allow_leading_hyphen=True)],
    model: str = "sparseformer_nano",
    top_k: int | None = None,
    threshold: float | None = None,
    keep_ratio: float | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
    features: Path | None = None,
    coco: Path | None = None,
    annotations: Path | None = None,
    draw: Path | None = None,
    batch_size: int | None = None,
    device: str | None = None,
) -> int:
    """Name what pictures show, or find and count objects in pictures and videos.

    What is done goes by the model: a classifier names each picture's classes, a detector finds objects.

    Parameters
    ----------
    pictures
        Files, folders, glob patterns, - for a list of paths on standard input; videos, and camera:0 for a camera.
    model
        A checkpoint (folder or file), a run's best/ folder, or a model's name for its published weights.
    top_k
        How many classes a classifier names for each picture. Default: 5.
    threshold
        The score from which on an object counts; 0 gives the 100 best. Default: each class's own, as it was chosen when
        the weights were scored, or 0.5.
    keep_ratio
        The share of the tokens that a sparse detector's encoder updates. Default: as it was trained.
    json_
        Print one JSON object a line instead of a table.
    features
        Write a classifier's pooled features of every picture into this .parquet or .npz file.
    coco
        Write the objects into this file as COCO's results json. Pictures are numbered from 1, as the .images.json file
        beside it says, unless --annotations is given.
    annotations
        A COCO json whose ids of pictures (found by file name) and categories (by name) --coco uses.
    draw
        Write drawn pictures and videos into this folder.
    batch_size
        Pictures that are read ahead; those of one size are run together. Default: 16, or 4 for a detector, or 1 for a
        camera.
    device
        cpu, cuda, cuda:1, ... Default: a GPU if there is one.
    """
    import sys

    from rich.console import Console

    if not pictures:
        raise ConfigError("No pictures were given: name files, folders or patterns, or - to read a list of paths.")
    refuse_options(pictures, _OPTIONS)

    from sparsevision.inference import Predictor
    from sparsevision.inference.sources import find_images
    from sparsevision.inference.video import is_camera, with_frames

    if batch_size is None and any(map(is_camera, pictures)):
        # Nobody wants to wait for a camera's next pictures before hearing of this one.
        batch_size = 1
    predictor = Predictor(model, device, batch_size=batch_size)
    chosen = {"top_k": top_k, "threshold": threshold, "keep_ratio": keep_ratio}
    options: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    skipped: list[Skipped] = []
    sources: Iterator[Any] = with_frames(find_images(pictures, sys.stdin.buffer, skipped), skipped)
    # Asked for before anything is written: what is wrong with the options is said here.
    predictor.stream([], features=features is not None, **options)
    with ExitStack() as stack:
        sinks = _sinks(predictor, features, coco, annotations, draw, stack)
        for sink in sinks:
            sources = sink.watching(sources)
        results: Iterable[Any] = predictor.stream(sources, features=features is not None, **options)
        results = _counted(results, Console(stderr=True))
        for sink in sinks:
            results = sink.passing(results)
        number = _print_lines(results) if json_ else _print_table(results, predictor)
    report_left_out(skipped + predictor.skipped, number)
    return 0


def _sinks(
    predictor: Predictor,
    features: Path | None,
    coco: Path | None,
    annotations: Path | None,
    draw: Path | None,
    stack: ExitStack,
) -> list[Sink[Any]]:
    """Opens what is written besides the table or the lines."""
    from sparsevision.inference.exchange import CocoResults, read_numbers
    from sparsevision.inference.features import FeatureFile

    if annotations is not None and coco is None:
        raise ConfigError("--annotations gives --coco its ids: name a file with --coco, too.")
    for option, path in (("--coco", coco), ("--draw", draw)):
        if path is not None and predictor.task != "detection":
            raise ConfigError(f"{option} writes what a detector finds, and the model is a classifier: leave it out.")
    sinks: list[Sink[Any]] = []
    if features is not None:
        stack.enter_context(naming(features))
        sinks.append(stack.enter_context(FeatureFile(features)))
    if coco is not None:
        stack.enter_context(naming(coco))
        sinks.append(stack.enter_context(CocoResults(coco, read_numbers(annotations) if annotations else None)))
    if draw is not None:
        # Imported here: matplotlib, whose letters are written, takes a second.
        from sparsevision.inference.drawn import DrawnDetections

        stack.enter_context(naming(draw))
        sinks.append(stack.enter_context(DrawnDetections(draw, predictor.labels)))
    return sinks


def _counted(results: Iterable[Result], console: object) -> Iterator[Result]:
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


def _print_lines(results: Iterable[Result]) -> int:
    printed = 0
    for result in results:
        print(json.dumps(result.to_dict()), flush=True)
        printed += 1
    return printed


def _print_table(results: Iterable[Any], predictor: Predictor) -> int:
    """Prints a row a picture; file names are shown as they are, however long they or the list may be."""
    import sys

    from rich.console import Console

    table = (
        _counts_table(results, predictor.labels)
        if predictor.task == "detection"
        else _names_table(results, embeds=not predictor.labels)
    )
    rows = table.row_count
    if rows:
        # A pipe has no width; a file name broken in two would be of no use there.
        Console(width=None if sys.stdout.isatty() else 10_000).print(table)
    return rows


def _names_table(results: Iterable[Classification], *, embeds: bool) -> Table:
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
    return table


def _counts_table(results: Iterable[DetectionResult], classes: Sequence[str]) -> Table:
    """Makes a table of how many objects of each class every picture shows."""
    from rich.table import Table
    from rich.text import Text

    columns = list(classes) if len(classes) <= _COLUMNS else []
    table = Table(box=None, pad_edge=False)
    table.add_column("picture", overflow="fold")
    for name in columns:
        table.add_column(Text(printable(name)), justify="right")
    if not columns:
        table.add_column("objects", overflow="fold")
    for result in results:
        counts = result.counts()
        listed = ", ".join(f"{name} {number}" for name, number in counts.items()) or "nothing"
        cells = [str(counts.get(name, 0)) for name in columns] or [listed]
        table.add_row(*(Text(printable(cell)) for cell in (result.name, *cells)))
    return table
