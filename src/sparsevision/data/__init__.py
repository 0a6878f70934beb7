"""What lies on disk into samples: reading, data sets, transforms, batches. It knows no model."""

from __future__ import annotations

from sparsevision.data.dataset import Dataset, Record, Split
from sparsevision.data.opening import open_dataset
from sparsevision.data.reading import read_picture

__all__ = ["Dataset", "Record", "Split", "open_dataset", "read_picture"]
