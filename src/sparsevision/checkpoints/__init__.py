"""Files of weights: the released layouts into ours, downloads, our own format, the Hub."""

from __future__ import annotations

from sparsevision.checkpoints.checkpoint import Checkpoint, LoadReport
from sparsevision.checkpoints.loading import load_into
from sparsevision.checkpoints.reading import read_checkpoint
from sparsevision.checkpoints.saving import save_checkpoint

__all__ = ["Checkpoint", "LoadReport", "load_into", "read_checkpoint", "save_checkpoint"]
