"""Kinds of recognition, one folder each, behind one contract; they know no model."""

from __future__ import annotations

from sparsevision.data.inspection import Inspection
from sparsevision.tasks.contract import Measure, Metrics, Report, Task, Writer
from sparsevision.tasks.registry import TASKS, TaskEntry, inspect_dataset, open_dataset, task_named, task_of_data

__all__ = [
    "TASKS", "Inspection", "Measure", "Metrics", "Report", "Task", "TaskEntry", "Writer", "inspect_dataset",
    "open_dataset", "task_named", "task_of_data",
]  # fmt: skip
