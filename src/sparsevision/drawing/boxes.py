"""Boxes over an image, in a colour for each class, with texts beside them that hide as little as possible."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sparsevision.drawing.palette import token_colours

Box = tuple[float, float, float, float]
Colour = tuple[int, int, int]

# Smaller images are enlarged to a short side of this many pixels: letters need room.
LEAST_SIDE = 480
_LONGEST_ENLARGED = 4096
_DARK = (18, 18, 18)
_PAPER = (240, 240, 240)
_LETTER_SHARE = 1 / 38  # of the image's short side
_LETTERS = (10, 40)
# With more objects than this, letters shrink, down to three fifths.
_ROOMY = 20


def draw_boxes(
    image: Image.Image, boxes: Sequence[Box], texts: Sequence[str], colours: Sequence[Colour], *,
    least_side: int = LEAST_SIDE,
) -> Image.Image:  # fmt: skip
    """Returns a new RGB image with outlined boxes, and the text of each where it hides least; the first ones on top.

    Boxes are (x0, y0, x1, y1) as fractions of the image, which is enlarged to a short side of `least_side` pixels; 0
    leaves its size as it is.
    """
    canvas = enlarged(image, least_side)
    across, down = canvas.size
    placed = [(x0 * across, y0 * down, x1 * across, y1 * down) for x0, y0, x1, y1 in boxes]
    pen = ImageDraw.Draw(canvas)
    width = max(round(min(canvas.size) / 240), 1)
    for box, colour in [*zip(placed, colours, strict=True)][::-1]:
        _outline(pen, box, colour, width)
    letters = _letters(min(canvas.size), len(boxes))
    for text, place, colour in zip(texts, _places(texts, placed, letters, canvas.size), colours, strict=True):
        _draw_text(pen, text, place, colour, letters)
    return canvas


def write_lines(image: Image.Image, lines: Sequence[str]) -> Image.Image:
    """Writes lines of text into the upper left corner of a new image, each on a ground of its own."""
    canvas = image.copy()
    letters = _letters(min(canvas.size), 1)
    pen = ImageDraw.Draw(canvas)
    for number, text in enumerate(lines):
        width = letters.font.getlength(text) + 2 * letters.pad
        place = _inside(0, number * (letters.height + 1), width, letters.height, canvas.size)
        _draw_text(pen, text, place, _PAPER, letters)
    return canvas


def write_legend(image: Image.Image, labels: Sequence[str], colours: Sequence[Colour]) -> Image.Image:
    """Writes labels into the upper left corner of a new image, each on a ground of its colour."""
    canvas = image.copy()
    letters = _letters(min(canvas.size), len(labels))
    pen = ImageDraw.Draw(canvas)
    for number, (text, colour) in enumerate(zip(labels, colours, strict=True)):
        width = letters.font.getlength(text) + 2 * letters.pad
        _draw_text(
            pen, text, _inside(0, number * (letters.height + 1), width, letters.height, canvas.size), colour, letters
        )
    return canvas


def on_image(boxes: Sequence[Box], size: tuple[int, int]) -> list[Box]:
    """Turns boxes in pixels of an image of a size (width, height) into fractions of it."""
    width, height = size
    return [(x0 / width, y0 / height, x1 / width, y1 / height) for x0, y0, x1, y1 in boxes]


def enlarged(image: Image.Image, least_side: int) -> Image.Image:
    """Returns a new RGB image whose short side has at least so many pixels, if the long one then stays bounded."""
    # A strip of a thousand times its width would take gigabytes.
    scale = max(min(least_side / min(image.size), _LONGEST_ENLARGED / max(image.size)), 1.0)
    size = (round(image.width * scale), round(image.height * scale))
    canvas = image.convert("RGB")
    return canvas.resize(size, Image.Resampling.BICUBIC) if size != image.size else canvas.copy()


def class_colours(labels: Sequence[str], classes: Sequence[str] = ()) -> dict[str, Colour]:
    """Gives every label a colour: by its place among the model's classes, or else among the labels themselves."""
    order = [*classes, *sorted(set(labels) - set(classes))]
    values = (255 * token_colours(len(order))).round().astype(int).tolist()
    return {label: (red, green, blue) for label, (red, green, blue) in zip(order, values, strict=True)}


class _Letters(NamedTuple):
    font: ImageFont.FreeTypeFont
    pad: int
    height: int


def _outline(pen: ImageDraw.ImageDraw, box: Box, colour: Colour, width: int) -> None:
    """Draws a box with a dark edge on both sides of its line, so that it shows on any ground."""
    x0, y0, x1, y1 = box
    # Pillow refuses boxes that end before they begin, as those of no width do after rounding.
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    edge = max(width // 3, 1)
    pen.rectangle((x0 - edge, y0 - edge, x1 + edge, y1 + edge), outline=_DARK, width=width + 2 * edge)
    pen.rectangle((x0, y0, x1, y1), outline=colour, width=width)


def _draw_text(pen: ImageDraw.ImageDraw, text: str, place: Box, colour: Colour, letters: _Letters) -> None:
    pen.rectangle(place, fill=colour, outline=_DARK)
    pen.text((place[0] + letters.pad, place[1]), text, fill=_DARK, font=letters.font)


def _letters(side: int, objects: int) -> _Letters:
    crowded = min(max((_ROOMY / max(objects, 1)) ** 0.5, 0.6), 1.0)
    size = round(min(max(side * _LETTER_SHARE * crowded, _LETTERS[0]), _LETTERS[1]))
    font = _font(size)
    ascent, descent = font.getmetrics()
    return _Letters(font, max(size // 4, 2), ascent + descent)


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # matplotlib brings a font with many more letters than Pillow's own.
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size)


def _places(texts: Sequence[str], boxes: Sequence[Box], letters: _Letters, size: tuple[int, int]) -> list[Box]:
    """Finds each label the place near its box where it hides the fewest labels, box edges and small boxes."""
    chosen: list[Box] = []
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    areas = ((corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])).clip(min=1)
    for number, (text, box) in enumerate(zip(texts, boxes, strict=True)):
        width = letters.font.getlength(text) + 2 * letters.pad
        others, taken = np.arange(len(corners)) != number, np.array(chosen).reshape(-1, 4)
        places = [_inside(x, y, width, letters.height, size) for x, y in _corners(box, width, letters.height)]
        costs = []
        for rank, place in enumerate(places):
            own = (place[2] - place[0]) * (place[3] - place[1])
            # Of other objects, small ones count in full, large ones hardly.
            covered = _shared(corners[others], place) * np.minimum(own / areas[others], 1)
            # Another label hidden is worse than another object covered; earlier places are the better known ones.
            costs.append(4 * _shared(taken, place).sum() + covered.sum() + 0.02 * rank * width * letters.height)
        chosen.append(places[int(np.argmin(costs))])
    return chosen


def _corners(box: Box, width: float, height: float) -> list[tuple[float, float]]:
    """Lists where a label's upper left corner may be: above the box, inside it, below it, to its sides."""
    x0, y0, x1, y1 = box
    return [
        (x0, y0 - height), (x0, y0), (x0, y1), (x1 - width, y0 - height), (x1 - width, y1 - height), (x1 - width, y0),
        (x0, y1 - height), (x1 - width, y1), (x1, y0), (x0 - width, y0), (x1, y1 - height), (x0 - width, y1 - height),
    ]  # fmt: skip


def _inside(x: float, y: float, width: float, height: float, size: tuple[int, int]) -> Box:
    """Moves a label into the image."""
    left = round(min(max(x, 0), max(size[0] - width - 1, 0)))
    top = round(min(max(y, 0), max(size[1] - height - 1, 0)))
    return (left, top, left + round(width), top + round(height))


def _shared(boxes: NDArray[np.float64], place: Box) -> NDArray[np.float64]:
    """Returns how many pixels each of boxes (N, 4) shares with a place."""
    low, high = np.maximum(boxes[:, :2], place[:2]), np.minimum(boxes[:, 2:], place[2:])
    return np.asarray((high - low).clip(min=0).prod(axis=1))
