"""Images in overlapping windows: each is seen as an image by itself, and what overlaps is blended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from sparsevision.data.preprocessing import LEAST_SIDE, RESAMPLING, to_tensor
from sparsevision.data.reading import MAX_PIXELS
from sparsevision.errors import ConfigError, UnreadableImageError
from sparsevision.outputs import SegmentationHead, SegmentationOutput
from sparsevision.tasks.segmentation.post_processing import class_rows, places_between
from sparsevision.types import Batch, Geometry, Preprocessing, Sample

# Windows begin at multiples of it, as the coarsest maps of networks do.
_STEP = 32
_OVERLAP = 0.25


class _Window(NamedTuple):
    """Pixels of the view: rows from `top` to `bottom`, columns from `left` to `right`."""

    top: int
    bottom: int
    left: int
    right: int


class WindowedImage:
    """One image whose class map is put together from windows of `side` pixels of the original.

    A window is at most as large as the image's short side. It is resized to the input of the preprocessing, so that
    things are as large as in training where training images were as large as a window; the image is resized by the
    same factor. No map of all classes at the size of the image exists: what a row of windows has finished is turned
    into classes.
    """

    def __init__(self, image: Image.Image, name: str, position: int, preprocessing: Preprocessing, side: int) -> None:
        self.name, self.position, self.preprocessing = name, position, preprocessing
        self.size = (image.height, image.width)
        short, side = preprocessing.size[0], min(side, *self.size)
        if short < LEAST_SIDE:
            raise ConfigError(f"The input of the model is {short} pixels high, too low for windows: omit them.")
        height, width = (max(1, round(extent * short / side)) for extent in self.size)
        if height * width > MAX_PIXELS:
            raise UnreadableImageError(
                f"{name}, of {self.size[1]} x {self.size[0]} pixels, would be seen as {width} x {height} in windows of "
                f"{side} pixels: give larger windows."
            )
        if (height, width) != self.size:
            image = image.resize((width, height), RESAMPLING[preprocessing.interpolation])
        self._image, self._view = image, (height, width)
        self._rows, self._columns = _intervals(height, short), _intervals(width, short)
        self._windows = [_Window(*rows, *columns) for rows in self._rows for columns in self._columns]
        self._done = 0
        self._blended: _BlendedRows | None = None

    def samples(self) -> Iterator[Sample]:
        """Yields the windows, row by row."""
        for top, bottom, left, right in self._windows:
            part = self._image.crop((left, top, right, bottom))
            tensor = to_tensor(part, self.preprocessing.mean, self.preprocessing.std)
            yield Sample(tensor, None, self.name, self.position)

    def add(self, output: SegmentationOutput, batch: Batch) -> None:
        """Takes the output of the next windows."""
        head = output.heads[0]
        if self._blended is None:
            self._blended = _BlendedRows(head, self._view, self.size)
        for logits in head.logits.float():
            window = self._windows[self._done]
            self._blended.add(logits, window)
            self._done += 1
            if self._done % len(self._columns) == 0:
                row = self._done // len(self._columns)
                self._blended.finish(self._rows[row][0] if row < len(self._rows) else None)

    def labels(self) -> np.ndarray:
        """Returns the class (H, W), uint8, of each pixel of the original, once all windows were added."""
        assert self._blended is not None
        return self._blended.labels.cpu().numpy()

    @property
    def geometry(self) -> Geometry:
        """The whole image."""
        return Geometry(self.size, (0.0, 0.0, float(self.size[1]), float(self.size[0])))


class _BlendedRows:
    """Sums of weighted logits for the rows of cells that are not finished, and the class map of those that are."""

    def __init__(self, head: SegmentationHead, view: tuple[int, int], size: tuple[int, int]) -> None:
        device = head.logits.device
        self.stride, self.cells = head.stride, tuple(-(-extent // head.stride) for extent in view)
        self.down = places_between(self.cells[0], view[0], size[0], head.stride, device)
        self.across = places_between(self.cells[1], view[1], size[1], head.stride, device)
        self.labels = torch.empty(size, dtype=torch.uint8, device=device)
        # Of the cells from row `first` on; and the next row of pixels to be classified.
        self.first, self.next = 0, 0
        self.sums = torch.zeros(head.logits.shape[1], 0, self.cells[1], device=device)
        self.weights = torch.zeros(0, self.cells[1], device=device)

    def add(self, logits: Float[Tensor, "classes height width"], window: _Window) -> None:
        top, left = window.top // self.stride - self.first, window.left // self.stride
        height, width = logits.shape[1:]
        missing = top + height - len(self.weights)
        if missing > 0:
            self.sums = torch.cat([self.sums, self.sums.new_zeros(len(self.sums), missing, self.cells[1])], dim=1)
            self.weights = torch.cat([self.weights, self.weights.new_zeros(missing, self.cells[1])])
        ramps = (_ramp(extent, logits.device) for extent in (height, width))
        weight = torch.outer(*ramps)
        self.sums[:, top : top + height, left : left + width] += logits * weight
        self.weights[top : top + height, left : left + width] += weight

    def finish(self, below: int | None) -> None:
        """Classifies the pixels that only need rows of cells above the row `below` of the view; None: all."""
        stop = self.cells[0] if below is None else below // self.stride
        first, share = self.down
        last = len(first) if below is None else int((first + 1 < stop).sum())
        if last > self.next:
            part = slice(self.next, last)
            rows = slice(int(first[self.next]) - self.first, min(int(first[last - 1]) + 2, stop) - self.first)
            logits = self.sums[:, rows] / self.weights[rows]
            down = (first[part] - self.first - rows.start, share[part])
            self.labels[part] = class_rows(logits, down, self.across)
            self.next = last
        kept = min(int(first[self.next]) if self.next < len(first) else stop, stop) - self.first
        self.first += kept
        self.sums, self.weights = self.sums[:, kept:].clone(), self.weights[kept:].clone()


def _intervals(extent: int, side: int) -> list[tuple[int, int]]:
    """Returns the beginnings and ends of windows of about a `side` that cover an extent; the last may be shorter."""
    if extent <= side:
        return [(0, extent)]
    step = max(_STEP, int(side * (1 - _OVERLAP)) // _STEP * _STEP)
    starts = range(0, extent - side + step, step)
    # The last window is moved back, to a multiple of the step, so that it sees as much as others.
    last = -(-(extent - side) // _STEP) * _STEP
    return [(start, min(start + side, extent)) for start in sorted({min(start, last) for start in starts})]


def _ramp(extent: int, device: torch.device) -> Float[Tensor, " extent"]:
    """Returns weights that fall towards both ends, where a window sees least around a pixel."""
    places = (torch.arange(extent, device=device) + 0.5) / extent
    return torch.minimum(places, 1 - places).clamp(max=_OVERLAP)
