"""`sparsevision evaluate`: how well a checkpoint does on a labelled data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sparsevision.cli.names import printable, report_left_out

if TYPE_CHECKING:
    from sparsevision.tasks import ClassificationReport


def evaluate(
    checkpoint: str,
    *,
    data: str,
    split: Literal["train", "val", "all"] = "val",
    batch_size: int = 64,
    workers: int = 0,
    device: str | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
    confusion: Path | None = None,
) -> int:
    """Score a checkpoint on a labelled data set: top-1, top-5, loss, each class, confusions.

    Parameters
    ----------
    checkpoint
        A run folder, a checkpoint folder or file, or a model's name for its published weights.
    data
        A folder of class folders (with train/ and val/ or without), tar shards, or "digits".
    split
        Which part of the data set.
    batch_size
        Pictures that are run together.
    workers
        Processes that read pictures.
    device
        cpu, cuda, cuda:1, ... Default: a GPU if there is one.
    json_
        Print one JSON object with everything instead of tables.
    confusion
        Write the whole matrix (rows: true, columns: predicted) into this CSV file.
    """
    import json

    from rich.console import Console
    from rich.progress import Progress

    from sparsevision.training.scoring import score

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("scoring", total=None)
        report, skipped = score(
            checkpoint, data, split=split, batch_size=batch_size, workers=workers, device=device,
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )  # fmt: skip
    if confusion is not None:
        _write_confusion(report, confusion)
    if json_:
        unread = [{"name": item.name, "reason": item.reason} for item in skipped]
        print(json.dumps({**report.to_dict(), "skipped": unread}))
    else:
        _print_tables(report)
    report_left_out(skipped, report.pictures)
    return 0


def _print_tables(report: ClassificationReport) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.print(
        f"{report.pictures} pictures: top-1 {report.top1:.2%}, top-5 {report.top5:.2%}, "
        f"mean over classes {report.mean_class:.2%}, loss {report.loss:.4f}"
    )
    table = Table("class", "pictures", "right", "most often taken for", box=None)
    for name, right, row in zip(report.classes, report.per_class, report.confusion, strict=True):
        if right is not None:
            cells = (name, str(sum(row)), f"{right:.1%}", _mistakes(report, name, row))
            # As Text: brackets in a class's name are not markup.
            table.add_row(*(Text(printable(cell)) for cell in cells))
    console.print(table)


def _mistakes(report: ClassificationReport, name: str, row: tuple[int, ...], most: int = 3) -> str:
    wrong = sorted(
        ((count, other) for count, other in zip(row, report.classes, strict=True) if other != name), reverse=True
    )
    return ", ".join(f"{other} ({count})" for count, other in wrong[:most] if count)


def _write_confusion(report: ClassificationReport, path: Path) -> None:
    import csv

    from sparsevision.errors import DataError

    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["true \\ predicted", *report.classes])
            writer.writerows([name, *row] for name, row in zip(report.classes, report.confusion, strict=True))
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be written: {error.strerror}.") from None
