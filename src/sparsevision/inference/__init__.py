"""Trained models on pictures: files, folders, arrays, streams."""

from __future__ import annotations

from sparsevision.inference.pictures import Picture
from sparsevision.inference.predictor import Predictor

__all__ = ["Picture", "Predictor"]
