"""Annotated objects of an image, as layouts with boxes give them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Objects:
    """The objects of one image: `boxes` (N, 4) float64 (x0, y0, x1, y1) as fractions of the upright image.

    `labels` (N,) are class indices; `areas` (N,) shares of the image, of the object itself where its outline is known;
    `crowds` (N,) mark boxes around many objects at once, which are not trained on and never count as missed.
    """

    boxes: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    crowds: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: np.ndarray) -> Objects:
        """Returns some of the objects, by a mask or by indices."""
        return Objects(self.boxes[chosen], self.labels[chosen], self.areas[chosen], self.crowds[chosen])


def commonest(objects: Objects) -> int:
    """Returns the class that most of the objects are of, -1 where there are none but crowds."""
    single = objects.labels[~objects.crowds].tolist()
    return Counter(single).most_common(1)[0][0] if single else -1
