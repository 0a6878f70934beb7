"""Results beside the truth: every pair is there, with its summary, whatever the images' shapes."""

from __future__ import annotations

import pytest
from PIL import Image

from sparsevision.errors import ConfigError
from sparsevision.explain import comparison_figure
from sparsevision.tasks.detection.result import DetectionResult

CLASSES = ("red", "white")


def a_result(*labels: str) -> DetectionResult:
    boxes = ((1.0, 1.0, 9.0, 9.0),) * len(labels)
    return DetectionResult(name="a.png", classes=CLASSES, labels=labels, scores=(0.7,) * len(labels), boxes=boxes)


def test_every_pair_is_drawn_with_its_summary() -> None:
    images = [Image.new("RGB", size, "grey") for size in ((60, 40), (40, 90), (60, 40), (60, 40))]
    found = [a_result("red")] * 3 + [a_result()]
    figure = comparison_figure(images, found, [a_result("white", "white")] * 4)
    figure.canvas.draw()
    written = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert [written.count(text) for text in ("1 red", "2 white", "nothing")] == [3, 4, 1]
    assert sum(bool(axes.images) for axes in figure.axes) == 8


def test_there_must_be_as_many_results_as_images() -> None:
    with pytest.raises(ConfigError, match="as many results as images; received 0 images, 0 and 0"):
        comparison_figure([], [], [])
