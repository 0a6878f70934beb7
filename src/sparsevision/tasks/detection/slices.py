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
from sparsevision.tasks.detection.matching import shared_areas
from sparsevision.tasks.detection.post_processing import Detections, PostProcess
from sparsevision.types import Batch, Geometry, Preprocessing, Sample

_OVERLAP = 0.25
# Of two boxes of a class in different slices, one is a duplicate above this overlap; a box that its slice cuts is one
# where so much of it lies in the other.
_DUPLICATE, _COVERED = 0.5, 0.7
# Share of its score with which a box that its slice cuts is ranked: whole ones of comparable score come first.
_OF_CUT = 0.5
# Pixels from the edge of a slice within which a box ends there.
_AT_EDGE = 2.0

Place = tuple[int, int, int, int]


class SlicedImage:
    """One image whose objects are found in slices of `side` pixels of the original, or less where it has less.

    `process` turns the output for a slice into detections, `counted` leaves those that count, and `finish` turns the
    `most` best of the image (0: all) into a result.
    """

    def __init__(
        self, image: Image.Image, name: str, position: int, preprocessing: Preprocessing, *, side: int,
        most: int, process: PostProcess, counted: Callable[[Detections], Detections],
        finish: Callable[[str, Geometry, Detections], Any],
    ) -> None:  # fmt: skip
        self.name, self.position, self.preprocessing = name, position, preprocessing
        self._image, self._most = image, most
        self._process, self._counted, self._finish = process, counted, finish
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
            self._found.append(self._counted(found))

    def result(self) -> Any:
        """Returns the result of the whole image."""
        width, height = self._image.size
        geometry = Geometry((height, width), (0.0, 0.0, float(width), float(height)))
        found = merged(self._found, self._places, (width, height))
        return self._finish(self.name, geometry, found.part(slice(self._most)) if self._most else found)


def _starts(extent: int, side: int) -> list[int]:
    """Returns where slices of a side begin that cover an extent, evenly spread."""
    count = 1 if extent <= side else 1 + -(-(extent - side) // max(1, int(side * (1 - _OVERLAP))))
    return [round(place) for place in torch.linspace(0, extent - side, count).tolist()]


def merged(found: list[Detections], places: list[Place], size: tuple[int, int]) -> Detections:
    """Puts the detections of slices together, best first, in pixels of the image, without duplicates in other slices.

    A box that an inner edge of its slice cuts gives way to a whole one of comparable score.
    """
    width, height = size
    offsets = torch.tensor([place[:2] * 2 for place in places])
    counts = torch.tensor([len(each.scores) for each in found])
    owner = torch.arange(len(found)).repeat_interleave(counts)
    scores, labels = (torch.cat([each[field] for each in found]) for field in (0, 1))
    boxes = torch.cat([each.boxes for each in found]) + offsets[owner]
    edges = torch.tensor(places, dtype=boxes.dtype)
    inner = edges != torch.tensor([0, 0, width, height])
    cut = (((boxes - edges[owner]).abs() <= _AT_EDGE) & inner[owner]).any(dim=1)
    order = torch.where(cut, _OF_CUT * scores, scores).argsort(descending=True, stable=True)
    kept = order[~_duplicates(boxes[order], (labels[order], owner[order]), cut[order])]
    kept = kept[scores[kept].argsort(descending=True, stable=True)]
    return Detections(scores[kept], labels[kept], boxes[kept])


def _duplicates(
    boxes: Float[Tensor, "found 4"], of: tuple[Tensor, Tensor], cut: Bool[Tensor, " found"]
) -> Bool[Tensor, " found"]:
    """Marks each box that repeats one before it, of the same class and another slice."""
    labels, owner = of
    areas, gone = box_area(boxes), torch.zeros_like(cut)
    for index in range(1, len(boxes)):
        before = (labels[:index] == labels[index]) & (owner[:index] != owner[index]) & ~gone[:index]
        shared = shared_areas(boxes[:index][before], boxes[index].unsqueeze(0))
        repeats = shared > _DUPLICATE * (areas[:index][before] + areas[index] - shared)
        if cut[index]:
            repeats |= shared > _COVERED * areas[index]
        gone[index] = bool(repeats.any())
    return gone
