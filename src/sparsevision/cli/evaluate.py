"""`sparsevision evaluate`: how well a checkpoint does on a labelled data set."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

from cyclopts import Parameter

from sparsevision.cli.names import printable, report_left_out
from sparsevision.errors import ConfigError, naming

if TYPE_CHECKING:
    from sparsevision.measure.keep_ratios import Sweep
    from sparsevision.tasks import ClassificationReport
    from sparsevision.tasks.average_precision import DetectionReport

# What is said of a detector in all, by the report's fields.
_MEASURES = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "small": "small", "medium": "medium", "large": "large"}


def evaluate(
    checkpoint: str,
    *,
    data: str,
    split: Literal["train", "val", "test", "all"] = "val",
    batch_size: int | None = None,
    workers: int = 0,
    device: str | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
    confusion: Path | None = None,
    keep_ratio: Annotated[list[float] | None, Parameter(consume_multiple=True, negative="")] = None,
    selection: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    out: Path | None = None,
) -> int:
    """Score a checkpoint on a labelled data set, or sweep a detector over keep ratios.

    A classifier: top-1, top-5, loss, each class, confusions. A detector: COCO's average precision, by size and by
    class, and how well it counts. Several keep ratios or selections, or --out: a sweep, in which every picture passes
    through all settings in turn.

    Parameters
    ----------
    checkpoint
        A run folder, a checkpoint folder or file, or a model's name for its published weights.
    data
        A folder of class folders (with train/ and val/ or without), tar shards, or "digits"; for a detector one in
        COCO's, YOLO's or Pascal VOC's layout, or "digit-scenes:PHOTOGRAPHS".
    split
        Which part of the data set; data sets with boxes may have "test", and have no "all".
    batch_size
        Pictures that are run together, where they have one size. Default: 64, or 8 for a detector.
    workers
        Processes that read pictures.
    device
        cpu, cuda, cuda:1, ... Default: a GPU if there is one.
    json_
        Print one JSON object with everything instead of tables.
    confusion
        Write a classifier's whole matrix (rows: true, columns: predicted) into this CSV file.
    keep_ratio
        The shares of the tokens that a sparse detector's encoder updates. Default: as it was trained; in a sweep 0.1,
        0.2, 0.3, 0.5, 0.7 and 1.
    selection
        Which tokens these are: by the ranking that the detector has learned ("dam" or "objectness"), or "random" ones.
        Default: as it was trained; in a sweep both.
    out
        Sweep, and write sweep.json and sweep.png into this folder.
    """
    if out is not None or len(keep_ratio or []) > 1 or len(selection or []) > 1:
        if confusion is not None or batch_size is not None:
            raise ConfigError(
                "A sweep runs pictures one by one and has no confusions: leave out --batch-size and --confusion."
            )
        return _sweep(checkpoint, data, split, keep_ratio, selection, workers, device, json_, out)

    from sparsevision.training.scoring import ToScore

    scored = ToScore(checkpoint, data, split=split, device=device)
    if confusion is not None and scored.kind != "classification":
        raise ConfigError("--confusion writes what a classifier confuses, and this is a detector: leave it out.")
    given = {"keep_ratio": keep_ratio, "selection": selection}
    controls = {name: values[0] for name, values in given.items() if values}
    with _progress() as progress:
        report, skipped = scored.score(batch_size, workers, progress, **controls)
    if confusion is not None:
        _write_confusion(cast("ClassificationReport", report), confusion)
    if json_:
        unread = [{"name": item.name, "reason": item.reason} for item in skipped]
        print(json.dumps({**report.to_dict(), "skipped": unread}))
    elif scored.kind == "classification":
        _print_classified(cast("ClassificationReport", report))
    else:
        _print_found(cast("DetectionReport", report))
    report_left_out(skipped, report.pictures)
    return 0


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Shows on a terminal's stderr how many pictures are done."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("scoring", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _sweep(
    checkpoint: str,
    data: str,
    split: Literal["train", "val", "test", "all"],
    keep_ratios: Sequence[float] | None,
    selections: Sequence[str] | None,
    workers: int,
    device: str | None,
    json_: bool,
    out: Path | None,
) -> int:
    from sparsevision.measure.keep_ratios import KEEP_RATIOS, sweep_keep_ratios

    if out is not None:
        # Asked for before the work is done: what is wrong with the folder is said here.
        with naming(out):
            out.mkdir(parents=True, exist_ok=True)
    with _progress() as progress:
        sweep = sweep_keep_ratios(
            checkpoint, data, split=split, keep_ratios=keep_ratios or KEEP_RATIOS, selections=selections,
            workers=workers, device=device, progress=progress,
        )  # fmt: skip
    if out is not None:
        _write_sweep(sweep, out)
    if json_:
        print(json.dumps(sweep.to_dict()))
    else:
        _print_sweep(sweep)
    report_left_out(sweep.skipped, sweep.rows[0].report.pictures)
    return 0


def _write_sweep(sweep: Sweep, out: Path) -> None:
    from sparsevision.explain import keep_ratio_figure, save_figure

    remark = f"{sweep.rows[0].report.pictures} pictures; {sweep.machine}"
    with naming(out):
        (out / "sweep.json").write_text(json.dumps(sweep.to_dict(), indent=1) + "\n", encoding="utf-8")
        rows = [row.to_dict() for row in sweep.rows]
        save_figure(keep_ratio_figure(rows, sweep.trained, remark=remark), out / "sweep.png")


def _print_sweep(sweep: Sweep) -> None:
    from rich.console import Console
    from rich.table import Table

    names = [name for name in _MEASURES if name != "ap75"]
    columns = ("selection", "keep ratio", *(_MEASURES[name] for name in names), "ms (quartiles)")
    table = Table(*columns, box=None, pad_edge=False)
    for row in sweep.rows:
        low, middle, high = (f"{1e3 * value:.1f}" for value in (row.seconds.low, row.seconds.value, row.seconds.high))
        measures = [_percent(getattr(row.report, name)) for name in names]
        table.add_row(row.selection, f"{row.keep_ratio:g}", *measures, f"{middle} ({low}–{high})")
    Console(highlight=False).print(table)


def _percent(value: float | None) -> str:
    """Shows a share in per cent; COCO's measure is -1 where nothing is to be found."""
    return "–" if value is None or value < 0 else f"{value:.2%}"


def _print_found(report: DetectionReport) -> None:
    """Prints a detector's measures: of all objects, by size, by class."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    listed = ", ".join(f"{said} {_percent(getattr(report, name))}" for name, said in _MEASURES.items())
    console.print(f"{report.pictures} pictures: {listed}", soft_wrap=True)
    columns = ("class", "objects", "found", "count error", "threshold", "F1", "AP", "AP50")
    table = Table(*columns, box=None, pad_edge=False)
    for one in report.per_class:
        cells = (
            one.name, str(one.objects), str(one.found), f"{one.count_error:.2f}", f"{one.threshold:.3f}",
            *map(_percent, (one.f1, one.ap, one.ap50)),
        )  # fmt: skip
        # As Text: brackets in a class's name are not markup.
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console.print(table)


def _print_classified(report: ClassificationReport) -> None:
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
