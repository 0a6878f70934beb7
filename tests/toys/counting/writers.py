"""A file of counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparsevision.tasks import Writer
from toys.counting.result import CountingResult


class CountFile(Writer[CountingResult]):
    def __init__(self, path: Path, unit: str) -> None:
        self.path, self.unit, self.lines = path, unit, []

    def add(self, result: CountingResult) -> None:
        self.lines.append(f"{Path(result.name).name},{result.count:.3f},{self.unit}")

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self.path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")


def open_counts(path: Path, task: Any, *, unit: Path | None = None) -> CountFile:
    return CountFile(path, str(unit or task.classes[0]))
