"""SparseFormer, Sparse DETR and Visual Transformers: recognition that computes where the image needs it.

Public names are imported when they are first used, so that importing the package loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "create_model": "factory",
    "list_models": "factory",
    "Predictor": "inference",
    "explain_images": "inference.explaining",
    "explain_sweep": "inference.explaining",
    "Explanation": "explain",
    "ExplanationWriter": "explain",
    "train": "training",
    "read_recipe": "training",
    "evaluate": "evaluation.evaluate",
    "sweep": "evaluation.sweep",
    "measure_faithfulness": "evaluation.faithfulness",
    "open_dataset": "tasks",
    "inspect_dataset": "tasks",
    "SparseVisionError": "errors",
    "Trace": "types",
    "Preprocessing": "types",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
