"""What differs between recognising classes, boxes and masks: loss, measures, results. Knows no model."""

from __future__ import annotations

from sparsevision.tasks.classification.task import ClassificationMetrics, ClassificationReport, ClassificationTask
from sparsevision.tasks.contract import Metrics, Report, Task

__all__ = ["ClassificationMetrics", "ClassificationReport", "ClassificationTask", "Metrics", "Report", "Task"]
