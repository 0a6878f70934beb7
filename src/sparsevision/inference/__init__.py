"""Trained models on images: files, folders, arrays, streams."""

from sparsevision.inference.images import ImageInput
from sparsevision.inference.predictor import Predictor

__all__ = ["ImageInput", "Predictor"]
