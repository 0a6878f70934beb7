"""What differs between recognising classes, boxes and masks: loss, measures, results. Knows no model."""

from __future__ import annotations

from sparsevision.tasks.classification import ClassificationMetrics, ClassificationTask, Report

__all__ = ["ClassificationMetrics", "ClassificationTask", "Report"]
