"""Models as files of other runtimes, checked against PyTorch."""

from sparsevision.export.exporting import Exported, ExportOptions, export_model
from sparsevision.export.formats import FORMATS

__all__ = ["FORMATS", "ExportOptions", "Exported", "export_model"]
