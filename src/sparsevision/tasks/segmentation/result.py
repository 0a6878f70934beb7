"""The result of a segmenter for one image: the class of every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from sparsevision.errors import MissingExtraError, UnknownNameError
from sparsevision.types import Result

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST_COLUMNS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentationResult(Result):
    """The class of every pixel of one image: `labels` (H, W), uint8 indices of `classes`, in the original's pixels.

    Connected areas (8 neighbours) of less than `min_area` pixels are not counted.
    """

    offers: ClassVar[frozenset[str]] = frozenset({"labels"})
    labels: np.ndarray
    min_area: int = 1

    @cached_property
    def shares(self) -> dict[str, float]:
        """The share of the image's area of each class that was found, largest first."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes)) / self.labels.size
        order = sorted(range(len(self.classes)), key=lambda label: -counts[label])
        return {self.classes[label]: float(counts[label]) for label in order if counts[label]}

    @cached_property
    def areas(self) -> dict[str, int]:
        """The number of connected areas of each class that was found."""
        return {name: self.count(name) for name in self.shares}

    def agreement(self, other: Self) -> float:
        """Returns the share of pixels that have the same class in both."""
        return float((self.labels == other.labels).mean())

    def mask(self, name: str) -> np.ndarray:
        """Returns which pixels (H, W) are of a class; raises UnknownNameError for a name that is none."""
        if name not in self.classes:
            raise UnknownNameError("class", name, self.classes)
        found: np.ndarray = self.labels == self.classes.index(name)
        return found

    def count(self, name: str) -> int:
        """Returns the number of connected areas of a class."""
        try:
            from scipy.ndimage import label
        except ImportError:
            raise MissingExtraError("scipy", "Counting areas") from None
        numbered, found = label(self.mask(name), structure=np.ones((3, 3)))
        if self.min_area <= 1:
            return int(found)
        return int((np.bincount(numbered.ravel())[1:] >= self.min_area).sum())

    def content(self) -> dict[str, Any]:
        """Returns {"classes": [{"label", "share", "areas", "segmentation"}, ...]}, the last in COCO's run lengths."""
        found = [
            {
                "label": name, "share": round(share, 6), "areas": self.areas[name],
                "segmentation": run_lengths(self.mask(name)),
            }
            for name, share in self.shares.items()
        ]  # fmt: skip
        return {"size": list(self.labels.shape), "classes": found}

    def to_supervision(self) -> Any:
        """Returns supervision's `Detections`, one for each class that was found: its mask, and the box around it.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        try:
            from supervision import Detections, mask_to_xyxy
        except ImportError:
            raise MissingExtraError("supervision", "Converting to supervision's detections") from None
        names = list(self.shares)
        masks = np.stack([self.mask(name) for name in names])
        return Detections(
            xyxy=mask_to_xyxy(masks).astype(np.float32), mask=masks,
            class_id=np.array([self.classes.index(name) for name in names], dtype=np.int64),
            data={"class_name": np.array(names, dtype=str)},
        )  # fmt: skip

    cells_note: ClassVar[str] = "Share of the pixels, and in brackets the number of connected areas."

    def cells(self) -> dict[str, str]:
        """Returns the share of each class and the number of its areas, or a list where there are many classes."""
        if len(self.classes) <= _MOST_COLUMNS:
            return {name: f"{self.shares.get(name, 0):.1%} ({self.areas.get(name, 0)})" for name in self.classes}
        return {"classes": self.summary()}

    def summary(self) -> str:
        """Returns the share and the areas of each class that was found: "road 41% (1), sky 22% (3)"."""
        return ", ".join(f"{name} {share:.0%} ({self.areas[name]})" for name, share in self.shares.items())

    def annotate(self, image: Image, *, least_side: int = 480) -> Image:
        """Returns the image with each class in a colour over it, a line around its areas, and a legend."""
        from sparsevision.drawing.areas import draw_areas

        return draw_areas(image, self.labels, self.classes, least_side=least_side)


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """Returns a mask (H, W) as COCO's run lengths: column by column, beginning with those of what is not in it."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    starts = [0] if not flat[0] else [0, 0]
    counts = np.diff(np.concatenate([starts, edges, [flat.size]]))
    return {"size": list(mask.shape), "counts": counts.tolist()}
