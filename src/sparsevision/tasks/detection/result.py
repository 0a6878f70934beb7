"""The result of a detector for one image: objects with their boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike

from sparsevision.errors import MissingExtraError, import_extra
from sparsevision.types import Geometry, Result

if TYPE_CHECKING:
    from PIL.Image import Image

    from sparsevision.data.dataset import Record


# A table has a column a class up to this many classes; with more of them one cell lists what was found.
_MOST_COLUMNS = 8
# The overlap from which two boxes are the same.
_SAME_BOX = 0.9


@dataclass(frozen=True, kw_only=True)
class DetectionResult(Result):
    """The objects found in one image, best first: `boxes` are (x0, y0, x1, y1) in pixels of the original.

    `category_ids` are the labels' numbers in the data set that the detector learned from. `len(result)` counts the
    objects, and `result[chosen]` keeps some of them, chosen by a slice, a mask or indices.
    """

    offers: ClassVar[frozenset[str]] = frozenset({"objects"})
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    boxes: tuple[tuple[float, float, float, float], ...]
    category_ids: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def __bool__(self) -> bool:
        return True  # a result without objects is a result

    def __getitem__(self, chosen: slice | ArrayLike) -> Self:
        """Returns the result with some of its objects, in the order of `chosen`."""
        places = chosen if isinstance(chosen, slice) else np.asarray(chosen)
        if not isinstance(places, slice) and not places.size:
            places = places.astype(int)  # an empty list has no type of its own
        kept = np.atleast_1d(np.arange(len(self))[places]).tolist()
        columns = {name: getattr(self, name) for name in ("labels", "scores", "boxes", "category_ids")}
        parts: dict[str, Any] = {
            name: tuple(values[index] for index in kept) for name, values in columns.items() if values
        }
        return replace(self, **parts)

    def counts(self) -> dict[str, int]:
        """Returns the number of objects of each class that was found, by name."""
        return dict(sorted(Counter(self.labels).items()))

    def content(self) -> dict[str, Any]:
        """Returns {"objects": [{"label", "score", "box"}, ...]}."""
        found = zip(self.labels, self.scores, self.boxes, strict=True)
        objects = [
            {"label": label, "score": round(score, 6), "box": [round(edge, 2) for edge in box]}
            for label, score, box in found
        ]
        return {"objects": objects}

    def cells(self) -> dict[str, str]:
        """Returns the number of objects a class, or a list of them where there are many classes."""
        counts = self.counts()
        if len(self.classes) <= _MOST_COLUMNS:
            return {name: str(counts.get(name, 0)) for name in self.classes}
        return {"objects": ", ".join(f"{name} {number}" for name, number in counts.items()) or "nothing"}

    def summary(self) -> str:
        """Returns the number of objects of each class, in the model's order: "12 RBC, 1 WBC"."""
        counts = self.counts()
        order = dict.fromkeys((*self.classes, *counts))
        return ", ".join(f"{counts[label]} {label}" for label in order if label in counts) or "nothing"

    def agreement(self, other: Self) -> float:
        """Returns the share of objects that both have, with the same label and nearly the same box."""
        from torchvision.ops import box_iou

        optimize = import_extra("scipy.optimize", "Comparing detections")
        most = max(len(self), len(other))
        if not min(len(self), len(other)):
            return float(not most)
        shared = box_iou(torch.tensor(self.boxes), torch.tensor(other.boxes)).numpy()
        same = shared * (np.asarray(self.labels)[:, None] == np.asarray(other.labels))
        return float((same[optimize.linear_sum_assignment(-same)] >= _SAME_BOX).sum() / most)

    def __str__(self) -> str:
        listed = ", ".join(f"{label} {score:.3f}" for label, score in zip(self.labels, self.scores, strict=True))
        return f"{self.name}: {listed or 'nothing'}"

    def annotate(self, image: Image, *, least_side: int = 480, scores: bool = True, numbers: bool = False) -> Image:
        """Returns the image with a box, a label and a score for each object, in a colour for each class.

        With `numbers`, objects are numbered, the best being 1.
        """
        # Imported late: predicting without drawing does without a font.
        from sparsevision.drawing.boxes import class_colours, draw_boxes, on_image

        height, width = self.geometry.original_size if self.geometry else (image.height, image.width)
        colours = class_colours(self.labels, self.classes)
        found = enumerate(zip(self.labels, self.scores, strict=True), start=1)
        texts = [
            (f"{number}: " if numbers else "") + label + (f" {score:.2f}" if scores else "")
            for number, (label, score) in found
        ]
        boxes = on_image(self.boxes, (width, height))
        return draw_boxes(image, boxes, texts, [colours[label] for label in self.labels], least_side=least_side)

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """Returns the objects as rows of a COCO results file; boxes are (x, y, width, height) in pixels."""
        found = zip(self.category_ids, self.boxes, self.scores, strict=True)
        return [
            {
                "image_id": image_id,
                "category_id": category,
                "bbox": [round(value, 3) for value in (x0, y0, x1 - x0, y1 - y0)],
                "score": round(score, 8),
            }
            for category, (x0, y0, x1, y1), score in found
        ]

    def to_supervision(self) -> Any:
        """Returns supervision's `Detections`: corners in pixels, scores, category ids, and the names in `data`.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        try:
            from supervision import Detections
        except ImportError:
            raise MissingExtraError("supervision", "Converting to supervision's detections") from None
        return Detections(
            xyxy=np.array(self.boxes, dtype=np.float32).reshape(-1, 4),
            confidence=np.array(self.scores, dtype=np.float32),
            class_id=np.array(self.category_ids, dtype=np.int64),
            data={"class_name": np.array(self.labels, dtype=str)},
        )


def true_result(record: Record, classes: Sequence[str], category_ids: Sequence[int] = ()) -> DetectionResult:
    """Returns the annotated objects of a record as a perfect detector would: all scores are 1, crowds are left out."""
    single = record.target[~record.target.crowds]
    height, width = record.original_size or (record.image.height, record.image.width)
    return DetectionResult(
        name=record.name,
        classes=tuple(classes),
        labels=tuple(classes[label] for label in single.labels),
        scores=(1.0,) * len(single),
        boxes=tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in (single.boxes * ([width, height] * 2)).tolist()),
        category_ids=tuple(category_ids[label] for label in single.labels) if category_ids else (),
        geometry=Geometry((height, width), (0.0, 0.0, width, height)),
    )
