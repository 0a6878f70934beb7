"""`sparsevision doctor`: examines this machine, and a data set before training on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sparsevision.cli.names import printable, sentence
from sparsevision.cli.tables import print_table, progress_bar, show_status
from sparsevision.types import Table

if TYPE_CHECKING:
    from sparsevision.measure.environment import Finding
    from sparsevision.tasks import Inspection

_MARKS = {"ok": "", "note": "note", "harm": "HARM"}
_MOST_NAMED = 20


def doctor(
    data: str | None = None, *, task: str | None = None, json: Annotated[bool, Parameter(negative="")] = False
) -> int:
    """Examine this machine, or a data set before training on it; status 1 if a fault was found.

    With a data set, only what is harmful of the machine is told.

    Args:
        data: A folder of class folders, of images or of videos; images with boxes in COCO's, YOLO's or Pascal VOC's
            layout; images with masks; tar shards; or "digits": every image is decoded, duplicates across the splits are
            looked for, and annotations are examined.
        task: What the data set is for. Default: as its layout tells.
        json: Print JSON instead of tables.
    """
    import json as encoder
    from dataclasses import asdict

    from sparsevision.measure.environment import examine_environment, harms

    with show_status("examining this machine"):
        findings = examine_environment()
    report = None
    if data is not None:
        from sparsevision.tasks import inspect_dataset
        from sparsevision.tasks.registry import other_tasks_note

        note = None if task else other_tasks_note(data, option="--task")
        with progress_bar("decoding images") as progress:
            report = inspect_dataset(data, task=task, progress=progress)
    harmful = [f"{finding.name}: {finding.value}. {finding.advice}" for finding in harms(findings)]
    harmful += report.harmful if report else []
    if json:
        whole = {
            "schema_version": 1,
            "environment": [asdict(finding) for finding in findings],
            "data": report.to_dict() if report else None,
            "harmful": harmful,
        }
        print(encoder.dumps(whole, indent=1))
    else:
        _print([] if report else findings, report, harmful)
        if data is not None and note:
            print(f"Note: {sentence(note)}")
    return 1 if harmful else 0


def _print(findings: list[Finding], report: Inspection | None, harmful: list[str]) -> None:
    rows = tuple((each.name, each.value, _MARKS[each.status], each.advice) for each in findings)
    if rows:
        print_table(Table(columns=("what", "found", "", "advice"), rows=rows))
    if report is not None:
        for table in report.tables() if report.splits else ():
            print_table(table)
            print()
        for each in report.splits:
            print(f"{each.split}: {sentence(each.origin)}")
        for split, broken in report.broken.items():
            for skipped in broken[:_MOST_NAMED]:
                print(f"- {split}: {printable(skipped.name)}: {sentence(skipped.reason)}")
            if len(broken) > _MOST_NAMED:
                print(f"- {split}: and {len(broken) - _MOST_NAMED} more (--json lists all)")
        for note in report.notes:
            print(f"Note: {sentence(note)}")
    lines = ["Faults:", *(f"- {sentence(fault)}" for fault in harmful)]
    print("\n".join(lines) if harmful else "No faults found.")
