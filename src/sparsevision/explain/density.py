"""The density of sampling points over an image, and the share of them inside a box."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sparsevision.errors import ConfigError

DEFAULT_RADIUS = 0.05


def density(
    points: Tensor | ArrayLike, size: tuple[int, int], *, radius: float = DEFAULT_RADIUS, weight: Any = None
) -> NDArray[np.float32]:
    """Estimates the density of points with a top-hat kernel: (H, W), 1 where it is that of even sampling.

    A pixel's value is the share of all points (or of their `weight`) that lie within `radius` of its centre, divided by
    the share of the image's area that such a disc covers. Exact: points are not binned. Discs are not re-weighted at
    the border.

    Args:
        points: (..., 2) x and y as fractions of the image; points outside count among all.
        size: height and width of the map in pixels.
        radius: of the disc, as a fraction of the map's shorter side.
        weight: (...), how much each point counts; all alike if None.
    """
    height, width = size
    reach = radius * min(height, width)
    if height < 1 or width < 1 or not reach > 0:
        raise ConfigError(f"A density map needs a size and a radius above 0; received size {size}, radius {radius}.")
    xy = np.asarray(points, dtype=np.float64).reshape(-1, 2) * (width, height)
    mass = np.ones(len(xy)) if weight is None else np.asarray(weight, dtype=np.float64).reshape(-1)
    total = mass.sum()
    if not total > 0:
        return np.zeros(size, np.float32)
    within = _discs(xy, mass, size, reach)
    return np.asarray(within / total * (height * width) / (np.pi * reach**2), dtype=np.float32)


def _discs(xy: NDArray[np.float64], mass: NDArray[np.float64], size: tuple[int, int], reach: float) -> NDArray[Any]:
    """Sums the points' mass in a disc around each pixel's centre.

    Each disc cuts each row of pixels in one span: its mass is added where the span begins and taken away behind
    its end, and a running sum along the rows fills all spans at once.
    """
    height, width = size
    rows_below = int(np.ceil(reach)) + 1
    rows = np.floor(xy[:, 1])[:, None].astype(np.int64) + np.arange(-rows_below, rows_below + 1)
    rise = rows + 0.5 - xy[:, 1:]
    half = np.sqrt(np.maximum(reach**2 - rise**2, 0.0))
    first = np.clip(np.ceil(xy[:, :1] - half - 0.5), 0, width).astype(np.int64)
    behind = np.clip(np.floor(xy[:, :1] + half - 0.5) + 1, 0, width).astype(np.int64)
    cut = (np.abs(rise) <= reach) & (rows >= 0) & (rows < height) & (behind > first)
    spread = np.broadcast_to(mass[:, None], cut.shape)[cut]
    line = rows[cut] * (width + 1)
    length = height * (width + 1)
    change = np.bincount(line + first[cut], spread, length) - np.bincount(line + behind[cut], spread, length)
    return change.reshape(height, width + 1).cumsum(1)[:, :width]


def share_inside(points: Tensor, box: Tensor) -> Tensor:
    """Returns the share of points (..., 2) inside a box (4,), or (B,) of points (B, ..., 2) inside B boxes (B, 4).

    Boxes are x0, y0, x1, y1 in the points' unit and include their borders; the share is NaN without points.
    """
    if box.ndim == 1:
        return share_inside(points[None], box[None])[0]
    if len(box) != len(points):
        raise ConfigError(f"Received {len(box)} boxes for the points of {len(points)} images; expected as many.")
    flat, corners = points.reshape(len(points), -1, 2), box[:, None].to(points)
    inside = ((flat >= corners[..., :2]) & (flat <= corners[..., 2:])).all(-1)
    return inside.to(flat.dtype).mean(-1)
