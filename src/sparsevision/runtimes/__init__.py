"""Exported files as models: the same call, the same outputs, run by ONNX Runtime or OpenVINO."""

from sparsevision.runtimes.exported import ExportedModel, GraphDescription, is_exported, open_exported

__all__ = ["ExportedModel", "GraphDescription", "is_exported", "open_exported"]
