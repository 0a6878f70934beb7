"""From files on disk to samples: layouts, reading, loading. This room knows no task and no model."""

from __future__ import annotations

from sparsevision.data.dataset import Dataset, Record
from sparsevision.data.reading import read_image

__all__ = ["Dataset", "Record", "read_image"]
