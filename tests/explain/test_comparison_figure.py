"""What was found beside what is true: every pair is there, with its counts, whatever the pictures' shapes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sparsevision.data.dataset import Objects, Record
from sparsevision.errors import ConfigError
from sparsevision.explain import comparison_figure
from sparsevision.types import DetectionResult

CLASSES = ("red", "white")


def a_record(name: str, size: tuple[int, int] = (60, 40)) -> Record:
    boxes = np.array([[0.1, 0.2, 0.5, 0.6], [0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 0.7, 1.0]])
    objects = Objects(boxes, np.array([1, 0, 1]), np.full(3, 0.1), np.array([False, True, False]))
    return Record(Image.new("RGB", size, "grey"), -1, name, objects=objects)


def test_the_truth_of_a_record_is_in_pixels_and_has_no_crowds() -> None:
    truth = a_record("a.png").truth(CLASSES)
    assert truth.labels == ("white", "white")
    np.testing.assert_allclose(truth.boxes, [(6, 8, 30, 24), (30, 20, 42, 40)])
    assert set(truth.scores) == {1.0}


def test_every_pair_is_drawn_with_its_counts() -> None:
    records = [a_record("a.png"), a_record("b.png", (40, 90)), a_record("c.png"), a_record("d.png")]
    truths = [record.truth(CLASSES) for record in records]
    found = [DetectionResult(truth.name, ("red",), (0.7,), ((1, 1, 9, 9),)) for truth in truths]
    found[3] = DetectionResult("d.png", (), (), ())
    figure = comparison_figure([record.image for record in records], found, truths, classes=CLASSES)
    figure.canvas.draw()
    written = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert [written.count(text) for text in ("1 red", "2 white", "nothing")] == [3, 4, 1]
    assert sum(bool(axes.images) for axes in figure.axes) == 8


def test_as_many_results_as_pictures_are_wanted() -> None:
    with pytest.raises(ConfigError, match="as many results as pictures; received 0 pictures, 0 and 0"):
        comparison_figure([], [], [])
