"""Areas over an image, in a colour for each class, with lines around them and a legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from sparsevision.drawing.boxes import class_colours, enlarged, write_legend

_OPACITY, _RIM = 0.45, 0.8
_BACKGROUND = "background"
_AT_ONCE = 1 << 20  # pixels that are mixed at a time


def draw_areas(image: Image.Image, labels: np.ndarray, classes: Sequence[str], *, least_side: int = 480) -> Image.Image:
    """Returns a new RGB image; `labels` (H, W) are the classes of the pixels of the image at its full size."""
    canvas = enlarged(image, least_side)
    shown = np.asarray(Image.fromarray(labels).resize(canvas.size, Image.Resampling.NEAREST))
    colours = class_colours(classes, classes)
    # The background is what is left when things are marked. It has a rim, since a class's colour may be the image's.
    clear = np.array([name.casefold() == _BACKGROUND for name in classes])
    table = np.array([(255, 255, 255) if clear[place] else colours[name] for place, name in enumerate(classes)])
    inside = np.where(clear, 0.0, _OPACITY), np.where(clear, _RIM, 1.0)
    pixels = np.array(canvas)
    rows = max(1, _AT_ONCE // shown.shape[1])
    for top in range(0, len(shown), rows):
        part = slice(top, top + rows)
        edge = _edges(shown[max(top - 1, 0) : top + rows + 1])[min(top, 1) :][:rows]
        opacity = np.where(edge, inside[1][shown[part]], inside[0][shown[part]])[..., None]
        mixed = (1 - opacity) * pixels[part] + opacity * table[shown[part]]
        pixels[part] = mixed.round().astype(np.uint8)
    present = [classes[label] for label in np.unique(shown) if not clear[label]]
    return write_legend(Image.fromarray(pixels), present, [colours[name] for name in present])


def _edges(labels: np.ndarray) -> np.ndarray:
    """Returns the pixels beside one of another class."""
    edge = np.zeros(labels.shape, dtype=bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    for part, differs in ((edge[:, 1:], across), (edge[:, :-1], across), (edge[1:], down), (edge[:-1], down)):
        part |= differs
    return edge
