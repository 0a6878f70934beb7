"""How a measurement is told: printed, and written as a page beside its figures as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def publish(out: Path, name: str, text: str, record: Any) -> None:
    """Prints `text`, and writes it as NAME.md and `record` as NAME.json into the folder `out`."""
    print(text)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.md").write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    (out / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def published(out: Path, name: str) -> list[dict[str, Any]]:
    """Reads the rows that an earlier call wrote as NAME.json, or none."""
    path = out / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def trained_on(run: Path) -> str:
    """Names what a run folder's last start was trained on: its first GPU, or a CPU's threads."""
    start = json.loads((run / "environment.json").read_text(encoding="utf-8"))["starts"][-1]
    return next(iter(start["devices"]), f"CPU, threads: {start['threads']}")


def minutes_of(run: Path) -> str:
    """Returns the time that a run's steps and scorings took."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    seconds = [line["seconds"] for line in lines if "seconds" in line]
    return f"{max(seconds) / 60:.0f}" if seconds else ""
