"""`sparsevision doctor`: examines this machine, and a data set before training on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sparsevision.cli.names import printable

if TYPE_CHECKING:
    from rich.console import Console

    from sparsevision.data.inspection import DatasetReport, Sides
    from sparsevision.data.object_inspection import ObjectsReport
    from sparsevision.measure.environment import Finding

_MARKS = {"ok": "", "note": "note", "harm": "HARM"}
_MOST_NAMED = 20
_MOST_CLASSES = 100


def doctor(data: str | None = None, *, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Examine this machine, and a data set before training on it; status 1 if something would hurt.

    Parameters
    ----------
    data
        A folder of class folders, tar shards, or "digits"; or one for detection, in COCO's, YOLO's or Pascal VOC's
        layout: every picture is decoded, duplicates across the splits are looked for, and boxes are examined.
    json
        Print JSON instead of tables.
    """
    import json as encoder
    from dataclasses import asdict

    from rich.console import Console

    from sparsevision.measure.environment import examine_environment, harms

    with Console(stderr=True).status("examining this machine"):
        findings = examine_environment()
    report = None if data is None else _inspect(data)
    harmful = [f"{finding.name}: {finding.value}. {finding.advice}" for finding in harms(findings)]
    harmful += [] if report is None else report.harmful
    if json:
        whole = {
            "schema_version": 1,
            "environment": [asdict(finding) for finding in findings],
            "data": None if report is None else report.to_dict(),
            "harmful": harmful,
        }
        print(encoder.dumps(whole, indent=1))
    else:
        _print(findings, report, harmful)
    return 1 if harmful else 0


def _inspect(data: str) -> DatasetReport | ObjectsReport:
    """Decodes the data set's pictures under a progress bar on stderr."""
    from rich.console import Console
    from rich.progress import Progress

    from sparsevision.data.inspection import inspect_dataset
    from sparsevision.data.object_inspection import inspect_objects
    from sparsevision.data.opening_objects import is_for_detection

    inspect = inspect_objects if is_for_detection(data) else inspect_dataset
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("decoding pictures", total=None)
        return inspect(data, progress=lambda done, of: progress.update(task, completed=done, total=of))


def _print(findings: list[Finding], report: DatasetReport | ObjectsReport | None, harmful: list[str]) -> None:
    from rich.console import Console

    from sparsevision.data.object_inspection import ObjectsReport

    console = Console()
    console = console if console.is_terminal else Console(width=160)
    _print_findings(console, findings)
    if report is not None:
        if isinstance(report, ObjectsReport):
            _print_objects(console, report)
        else:
            _print_report(console, report)
        _print_broken_and_notes(report)
    lines = ["What would hurt:", *(f"- {printable(sentence)}" for sentence in harmful)]
    print("\n".join(lines) if harmful else "Nothing found that would hurt.")


def _print_findings(console: Console, findings: list[Finding]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("what", "found", "", "advice", box=box.SIMPLE_HEAD, pad_edge=False)
    for finding in findings:
        # As Text: brackets in a name such as [train] are not markup.
        table.add_row(*map(Text, (finding.name, finding.value, _MARKS[finding.status], finding.advice)))
    console.print(table)


def _print_report(console: Console, report: DatasetReport) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns = ("split", "pictures", "classes", "fewest", "most", "short side", "long side", "broken")
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for split in report.splits:
        counts = [count for count in split.per_class.values() if count] or [0]
        short, long = _ranges(split.sides)
        numbers = (split.pictures, sum(map(bool, split.per_class.values())), min(counts), max(counts))
        table.add_row(split.split, *map(str, numbers), short, long, str(len(split.broken)))
    console.print(Text(f"Data set {report.spec}, {len(report.classes)} classes; sides in pixels: least–most (median)"))
    console.print(table)


def _print_objects(console: Console, report: ObjectsReport) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns = ("split", "pictures", "empty", "short side", "long side", "broken", "objects", "crowds", "side of a box")
    table = Table(*columns, "small, medium, large", box=box.SIMPLE_HEAD, pad_edge=False)
    for split in report.splits:
        boxes = "-" if split.box_sides is None else "{}–{} ({})".format(*(split.box_sides[i] for i in (0, 2, 1)))
        pictures = (split.split, split.pictures, len(split.empty), *_ranges(split.sides), len(split.broken))
        sizes = ", ".join(map(str, split.box_sizes))
        table.add_row(*map(str, (*pictures, split.objects, split.crowds, boxes, sizes)))
    heading = f"Data set {report.spec} in the layout {report.layout}, {len(report.classes)} classes; sides in pixels: "
    console.print(Text(f"{heading}least–most (median); a box's is the root of its area"))
    console.print(table)
    table = Table(
        "id", "class", *(f"{split.split}: objects (pictures)" for split in report.splits), box=box.SIMPLE_HEAD
    )
    for number, name in list(zip(report.category_ids, report.classes, strict=True))[:_MOST_CLASSES]:
        counts = [split.per_class.get(name, (0, 0)) for split in report.splits]
        # As Text: brackets in a class's name are not markup.
        cells = (str(number), printable(name), *(f"{objects} ({pictures})" for objects, pictures in counts))
        table.add_row(*map(Text, cells))
    console.print(table)
    if len(report.classes) > _MOST_CLASSES:
        print(f"and {len(report.classes) - _MOST_CLASSES} classes more (--json lists all)")


def _ranges(sides: Sides | None) -> tuple[str, ...]:
    """Writes the range of short and of long sides."""
    return ("-", "-") if sides is None else tuple(f"{low}–{high} ({mid})" for low, mid, high in sides)


def _print_broken_and_notes(report: DatasetReport | ObjectsReport) -> None:
    for split in report.splits:
        for skipped in split.broken[:_MOST_NAMED]:
            print(f"- {split.split}: {printable(skipped.name)}: {printable(skipped.reason)}")
        if len(split.broken) > _MOST_NAMED:
            print(f"- {split.split}: and {len(split.broken) - _MOST_NAMED} more (--json lists all)")
    for sentence in report.notes:
        print(f"Note: {printable(sentence)}")
