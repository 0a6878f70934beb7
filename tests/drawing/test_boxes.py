"""Annotated objects: boxes in their places, one colour for each class, labels beside each other."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sparsevision.drawing.boxes import class_colours
from sparsevision.tasks.detection.result import DetectionResult
from sparsevision.types import Geometry

GREY = (90, 90, 90)
CLASSES = ("cat", "dog", "owl")


def result(*boxes: tuple[float, float, float, float], labels: tuple[str, ...] = (), size: int = 400) -> DetectionResult:
    labels = labels or ("dog",) * len(boxes)
    view = Geometry((size, size), (0.0, 0.0, float(size), float(size)))
    return DetectionResult(
        name="image", classes=CLASSES, labels=labels, scores=(0.9,) * len(boxes), boxes=boxes, geometry=view
    )


def painted(image: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    return (np.asarray(image) == colour).all(-1)


def test_a_box_lies_where_the_result_says_also_on_a_reduced_image() -> None:
    colour = class_colours(("dog",), CLASSES)["dog"]
    for side in (400, 200):
        drawn = result((100, 200, 300, 360)).annotate(Image.new("RGB", (side, side), GREY), least_side=0)
        assert drawn.size == (side, side)
        lines = painted(
            result((100, 200, 300, 360)).annotate(Image.new("RGB", (side, side), GREY), least_side=0), colour
        )
        rows, columns = lines.any(1).nonzero()[0], lines.any(0).nonzero()[0]
        scale = side / 400
        assert (columns.min(), columns.max()) == pytest.approx((100 * scale, 300 * scale), abs=1.5)
        assert rows.max() == pytest.approx(360 * scale, abs=1.5)


def test_a_class_has_one_colour_in_every_image() -> None:
    alone, among = class_colours(("owl",), CLASSES), class_colours(("cat", "owl"), CLASSES)
    assert alone["owl"] == among["owl"]
    assert len(set(among.values())) == 3


def test_small_images_are_enlarged_so_that_labels_can_be_read() -> None:
    assert result(size=96).annotate(Image.new("RGB", (96, 72), GREY)).size == (640, 480)
    assert result(size=96).annotate(Image.new("RGB", (900, 700), GREY)).size == (900, 700)


@pytest.mark.parametrize("size", [(1, 30_000), (2, 2500), (2500, 2), (1, 1)])
def test_a_strip_is_enlarged_within_bounds(size: tuple[int, int]) -> None:
    drawn = result((0, 0, 1, 1)).annotate(Image.new("RGB", size, GREY))
    assert max(drawn.size) == max(*size, 480 if size == (1, 1) else 4096)
    assert min(drawn.size) <= 480


def test_labels_of_the_same_place_do_not_hide_each_other() -> None:
    box = (150.0, 150.0, 250.0, 250.0)
    one = result(box, size=480).annotate(Image.new("RGB", (480, 480), GREY))
    two = result(box, box, size=480).annotate(Image.new("RGB", (480, 480), GREY))
    colour = class_colours(("dog",), CLASSES)["dog"]
    label = (
        painted(one, colour).sum()
        - painted(
            result(box, size=480).annotate(Image.new("RGB", (480, 480), GREY), scores=False),
            colour,
        ).sum()
    )
    assert painted(two, colour).sum() > painted(one, colour).sum() + label


@pytest.mark.parametrize("box", [(-50, -50, 900, 900), (10, 10, 10, 10), (399, 399, 400, 400), (30, 40, 20, 35)])
def test_odd_boxes_are_drawn_inside_of_the_image(box: tuple[float, float, float, float]) -> None:
    assert result(box).annotate(Image.new("RGB", (400, 400), GREY), least_side=0).size == (400, 400)
    assert result(box, size=3).annotate(Image.new("L", (3, 3))).mode == "RGB"
