"""Large images in overlapping slices: each is seen as an image by itself, and what they find is put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from torchvision.ops import box_area

from sparsevision.data.preprocessing import view
from sparsevision.outputs import DetectionOutput
from sparsevision.tasks.detection.post_processing import Detections, PostProcess
from sparsevision.types import Batch, Geometry, Preprocessing, Sample

_OVERLAP = 0.25
# Of two boxes of a class in different slices, one is a double from this overlap on; a box that its slice cuts is one
# where so much of it lies in the other.
_DOUBLE, _COVERED = 0.5, 0.7
# Pixels from the edge of a slice within which a box ends there.
_AT_EDGE = 2.0

Place = tuple[int, int, int, int]


class SlicedImage:
    """One image whose objects are found in slices of `side` pixels of the original, or less where it has less.

    `process` turns the output for a slice into detections, and `finish` those of the image into a result.
    """

    def __init__(
        self, image: Image.Image, name: str, position: int, preprocessing: Preprocessing, *, side: int,
        process: PostProcess, finish: Callable[[str, Geometry, Detections], Any],
    ) -> None:  # fmt: skip
        self.name, self.position, self.preprocessing = name, position, preprocessing
        self._image, self._process, self._finish = image, process, finish
        sides = [min(side, extent) for extent in image.size]
        starts = (_starts(extent, each) for extent, each in zip(image.size, sides, strict=True))
        self._places: list[Place] = [(x, y, x + sides[0], y + sides[1]) for y, x in product(*reversed(list(starts)))]
        self._found: list[Detections] = []

    def samples(self) -> Iterator[Sample]:
        """Yields the slices, row by row."""
        for place in self._places:
            part = self._image.crop(place)
            tensor, geometry = view(self.preprocessing, part)
            yield Sample(tensor, None, self.name, self.position, geometry)

    def add(self, output: DetectionOutput, batch: Batch) -> None:
        """Takes the output of the next slices."""
        x0, y0, x1, y1 = self._places[len(self._found)]
        sizes = torch.tensor([[y1 - y0, x1 - x0]] * len(batch), device=batch.images.device)
        for found in self._process(output.heads[0], sizes):
            self._found.append(Detections(*(each.cpu() for each in found)))

    def result(self) -> Any:
        """Returns the result of the whole image."""
        width, height = self._image.size
        geometry = Geometry((height, width), (0.0, 0.0, float(width), float(height)))
        return self._finish(self.name, geometry, merged(self._found, self._places, (width, height)))


def _starts(extent: int, side: int) -> list[int]:
    """Returns where slices of a side begin that cover an extent, evenly spread."""
    count = 1 if extent <= side else 1 + -(-(extent - side) // max(1, int(side * (1 - _OVERLAP))))
    return [round(place) for place in torch.linspace(0, extent - side, count).tolist()]


def merged(found: list[Detections], places: list[Place], size: tuple[int, int]) -> Detections:
    """Puts the detections of slices together, best first, in pixels of the image, without doubles of other slices.

    Boxes that an inner edge of their slice cuts give way to whole ones, whatever their scores are.
    """
    width, height = size
    offsets = torch.tensor([place[:2] * 2 for place in places])
    owner = torch.arange(len(found)).repeat_interleave(torch.tensor([len(each.scores) for each in found]))
    scores, labels = (torch.cat([each[field] for each in found]) for field in (0, 1))
    boxes = torch.cat([each.boxes for each in found]) + offsets[owner]
    edges = torch.tensor(places, dtype=boxes.dtype)
    inner = edges != torch.tensor([0, 0, width, height])
    cut = (((boxes - edges[owner]).abs() <= _AT_EDGE) & inner[owner]).any(dim=1)
    order = (scores - 2.0 * cut).argsort(descending=True, stable=True)
    scores, labels, boxes, owner, cut = (each[order] for each in (scores, labels, boxes, owner, cut))
    kept = ~_doubles(boxes, (labels, owner), cut)
    scores, labels, boxes = (each[kept] for each in (scores, labels, boxes))
    order = scores.argsort(descending=True, stable=True)
    return Detections(scores[order], labels[order], boxes[order])


def _doubles(
    boxes: Float[Tensor, "found 4"], of: tuple[Tensor, Tensor], cut: Bool[Tensor, " found"]
) -> Bool[Tensor, " found"]:
    """Marks each box that doubles one before it, of the same class and another slice."""
    labels, owner = of
    areas, gone = box_area(boxes), torch.zeros_like(cut)
    for index in range(1, len(boxes)):
        before = (labels[:index] == labels[index]) & (owner[:index] != owner[index]) & ~gone[:index]
        others = boxes[:index][before]
        first, last = torch.maximum(others[:, :2], boxes[index, :2]), torch.minimum(others[:, 2:], boxes[index, 2:])
        shared = (last - first).clamp(min=0).prod(dim=1)
        double = shared > _DOUBLE * (areas[:index][before] + areas[index] - shared)
        if cut[index]:
            double |= shared > _COVERED * areas[index]
        gone[index] = bool(double.any())
    return gone
