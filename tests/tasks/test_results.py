"""What a user holds in hands: detections that can be sliced, and the forms that results are handed on in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sparsevision.data.dataset import Record
from sparsevision.data.objects import Objects
from sparsevision.tasks.detection.result import DetectionResult, true_result
from sparsevision.tasks.labels.result import ClassificationResult
from sparsevision.types import Geometry

FOUND = DetectionResult(
    name="cells.png",
    classes=("disc", "square", "star"),
    labels=("disc", "square", "disc", "square"),
    scores=(0.9, 0.8, 0.7, 0.6),
    boxes=((0, 0, 10, 10), (5, 5, 20, 30), (40, 40, 50, 60), (1, 2, 3, 4)),
    category_ids=(3, 7, 3, 7),
    geometry=Geometry((80, 100), (0, 0, 100, 80)),
    time=1.5,
)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (slice(2), [0, 1]), (slice(None, None, -1), [3, 2, 1, 0]), (slice(5, 9), []), ([2, 0], [2, 0]), ([-1], [3]),
        (np.array([1, 3]), [1, 3]), (np.array([True, False, True, False]), [0, 2]), ([False] * 4, []),
        ([], []), (1, [1]),
        (torch.tensor([False, True, True, False]), [1, 2]), (np.array(FOUND.scores) >= 0.65, [0, 1, 2]),
    ],
)  # fmt: skip
def test_a_part_of_a_result_is_a_result(chosen: object, expected: list[int]) -> None:
    part = FOUND[chosen]
    assert isinstance(part, DetectionResult)
    for field in ("labels", "scores", "boxes", "category_ids"):
        assert getattr(part, field) == tuple(getattr(FOUND, field)[place] for place in expected)
    assert (part.name, part.classes, part.geometry, part.time) == (FOUND.name, FOUND.classes, FOUND.geometry, 1.5)
    assert len(part) == len(expected)
    assert part  # also without objects, as every result


def test_objects_that_there_are_not_are_refused() -> None:
    for chosen in (4, [0, 9], [True, False]):
        with pytest.raises(IndexError):
            FOUND[chosen]


def test_a_part_without_ids_has_none() -> None:
    plain = DetectionResult(name="x", labels=("disc", "star"), scores=(0.9, 0.5), boxes=((0, 0, 1, 1), (0, 0, 2, 2)))
    assert plain[:1].category_ids == ()
    assert plain[[]].labels == ()


def test_objects_are_counted_by_class() -> None:
    assert FOUND.counts() == {"disc": 2, "square": 2}
    assert FOUND.cells() == {"disc": "2", "square": "2", "star": "0"}
    assert FOUND.summary() == "2 disc, 2 square"
    assert FOUND[[]].summary() == "nothing"
    many = DetectionResult(
        name="x", classes=tuple("abcdefghi"), labels=("b", "b"), scores=(0.9, 0.8), boxes=((0, 0, 1, 1),) * 2
    )
    assert many.cells() == {"objects": "b 2"}
    assert many[[]].cells() == {"objects": "nothing"}


def test_cocos_rows_and_a_json_line_have_the_boxes_in_their_own_forms() -> None:
    rows = FOUND[:2].to_coco(17)
    assert rows[1] == {"image_id": 17, "category_id": 7, "bbox": [5, 5, 15, 25], "score": 0.8}
    line = FOUND[:1].to_dict()
    assert line == {
        "name": "cells.png", "time": 1.5, "objects": [{"label": "disc", "score": 0.9, "box": [0, 0, 10, 10]}],
    }  # fmt: skip


def test_supervision_takes_a_part() -> None:
    pytest.importorskip("supervision")
    found = FOUND[FOUND.scores.index(0.7) :].to_supervision()
    assert list(found.class_id) == [3, 7]
    assert found.xyxy.tolist() == [[40, 40, 50, 60], [1, 2, 3, 4]]
    assert len(FOUND[[]].to_supervision()) == 0


def test_the_truth_of_a_record_is_a_result_without_crowds() -> None:
    corners = np.array([[0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 0.75, 1.0]])
    objects = Objects(corners, np.array([1, 0, 0]), np.full(3, 0.1), np.array([False, True, False]))
    reduced = Record(Image.new("RGB", (50, 40)), objects, "cells.png", original_size=(80, 100))
    true = true_result(reduced, ("disc", "square"), (3, 7))
    assert (true.labels, true.category_ids, true.scores) == (("square", "disc"), (7, 3), (1.0, 1.0))
    np.testing.assert_allclose(true.boxes, [[10, 16, 30, 32], [50, 40, 75, 80]])
    assert (true.name, true.classes, true.geometry.original_size) == ("cells.png", ("disc", "square"), (80, 100))
    assert true_result(reduced, ("disc", "square")).category_ids == ()


def test_results_draw_themselves() -> None:
    ground = Image.new("RGB", (100, 80), "grey")
    named = ClassificationResult(name="x", classes=("ant", "bee"), labels=("ant", "bee"), scores=(0.8, 0.2))
    for result in (FOUND, named):
        for least, size in ((0, (100, 80)), (160, (200, 160))):
            drawn = result.annotate(ground, least_side=least)
            assert drawn.size == size
            assert np.asarray(drawn).std() > 0
    assert np.asarray(ground).std() == 0
    assert np.array_equal(np.asarray(FOUND[[]].annotate(ground, least_side=0)), np.asarray(ground))


def test_a_class_is_described_in_words() -> None:
    named = ClassificationResult(name="x", classes=("ant", "bee"), labels=("ant", "bee"), scores=(0.8, 0.2))
    assert str(named) == "x: ant 0.800, bee 0.200"
    assert named.to_dict() == {"name": "x", "classes": [{"label": "ant", "score": 0.8}, {"label": "bee", "score": 0.2}]}
    assert named.cells() == {"classes": "ant 0.800, bee 0.200"}
    assert ClassificationResult(name="x", labels=(), scores=()).cells() == {"embedding": "computed"}
