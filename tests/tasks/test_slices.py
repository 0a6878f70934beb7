"""Large images in slices: nothing changes where one slice holds the image, and no object is counted twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from sparsevision import Predictor
from sparsevision.errors import ConfigError
from sparsevision.outputs import DetectionHead, DetectionOutput
from sparsevision.tasks.detection.post_processing import Detections
from sparsevision.tasks.detection.slices import SlicedImage, merged
from sparsevision.tasks.detection.task import DetectionTask
from sparsevision.types import Batch, Preprocessing
from tiny_detector import save_tiny_detector

CLASSES = ("disc", "square")


class FindsBright:
    """A detector that finds each white square of an image of known places, as a slice shows it."""

    def __init__(self, squares: list[tuple[int, int, int, int]], size: tuple[int, int]) -> None:
        self.squares = squares
        self.image = Image.new("RGB", size)
        for square in squares:
            ImageDraw.Draw(self.image).rectangle((square[0], square[1], square[2] - 1, square[3] - 1), fill="white")

    def __call__(self, images: torch.Tensor) -> DetectionOutput:
        rows: list[list[float]] = []
        height, width = images.shape[2:]
        seen = images[0, 0] > 0.5
        # Squares of this test are apart by a dark pixel at least: rows of columns that are bright.
        while seen.any():
            y, x = (int(place[0]) for place in seen.nonzero(as_tuple=True))
            right = x
            while right < width and seen[y, right]:
                right += 1
            bottom = y
            while bottom < height and seen[bottom, x]:
                bottom += 1
            seen[y:bottom, x:right] = False
            rows.append(
                [(x + right) / 2 / width, (y + bottom) / 2 / height, (right - x) / width, (bottom - y) / height]
            )
        boxes = torch.tensor(rows or [[0.5, 0.5, 0.1, 0.1]])
        logits = torch.full((1, len(boxes), 2), -9.0)
        # The larger what is seen, the surer.
        logits[0, :, 1] = boxes[:, 2] * 4 if rows else -9.0
        return DetectionOutput((DetectionHead("decoder", logits, boxes[None]),))


def sliced(found: FindsBright, side: int) -> list[tuple[float, ...]]:
    task = DetectionTask(CLASSES)
    view = Preprocessing(size=(side, side), fit="short", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    tiling = task.tiling(slice=side)
    assert tiling is not None
    tiles = tiling(found.image, "a.png", 0, view)
    assert isinstance(tiles, SlicedImage)
    for sample in tiles.samples():
        tiles.add(found(sample.image[None]), Batch(sample.image[None], None, ["a.png"], [0]))
    return sorted(tuple(map(round, box)) for box in tiles.result().boxes)


@pytest.mark.parametrize("side", [64, 100, 128])
def test_each_object_is_found_once_and_whole(side: int) -> None:
    # Some lie on the edges of slices, one in a corner of four.
    squares = [
        (5, 5, 17, 17),
        (40, 40, 56, 56),
        (90, 20, 104, 34),
        (60, 90, 72, 102),
        (180, 120, 196, 136),
        (120, 118, 133, 131),
    ]
    assert sliced(FindsBright(squares, (200, 140)), side) == sorted(squares)


def test_an_object_larger_than_a_slice_is_not_lost() -> None:
    found = sliced(FindsBright([(10, 10, 190, 30)], (200, 140)), 64)
    assert found
    assert min(box[0] for box in found) == 10
    assert max(box[2] for box in found) == 190


def test_neighbours_of_one_slice_are_left_alone_and_other_classes_too() -> None:
    boxes = torch.tensor([[10.0, 10, 30, 30], [12, 10, 32, 30]])
    one = Detections(torch.tensor([0.9, 0.8]), torch.tensor([0, 0]), boxes)
    other = Detections(torch.tensor([0.7, 0.6]), torch.tensor([0, 1]), boxes - torch.tensor([5.0, 0, 5, 0]))
    found = merged([one, other], [(0, 0, 50, 50), (5, 0, 55, 50)], (55, 50))
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.6])


def test_a_box_that_a_slice_cuts_gives_way_only_to_one_of_comparable_score() -> None:
    places = [(0, 0, 640, 640), (480, 0, 1120, 640)]
    cut = torch.tensor([[440.0, 100, 640, 400]])
    for score, left in ((0.02, [0.95]), (0.6, [0.6])):
        first = Detections(torch.tensor([0.95]), torch.tensor([0]), cut)
        other = Detections(torch.tensor([score]), torch.tensor([0]), torch.tensor([[-60.0, 95, 220, 405]]))
        found = merged([first, other], places, (1120, 640))
        assert found.scores.tolist() == pytest.approx(left)


def test_the_number_of_objects_is_that_of_the_image() -> None:
    squares = [(5, 5, 17, 17), (90, 20, 104, 34), (150, 90, 166, 106)]
    detector, task = FindsBright(squares, (200, 140)), DetectionTask(CLASSES)
    view = Preprocessing(size=(64, 64), fit="short", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    tiling = task.tiling(slice=64, max_objects=2)
    assert tiling is not None
    tiles = tiling(detector.image, "a.png", 0, view)
    for sample in tiles.samples():
        tiles.add(detector(sample.image[None]), Batch(sample.image[None], None, ["a.png"], [0]))
    assert len(tiles.result().boxes) == 2


def test_one_slice_is_the_whole_image(tmp_path: Path) -> None:
    predictor = Predictor(save_tiny_detector(tmp_path / "model"), "cpu")
    image = Image.effect_noise((150, 90), 80).convert("RGB")
    image.save(tmp_path / "a.png")
    whole = predictor(str(tmp_path / "a.png"), threshold=0.3)
    for side in (150, 640):
        found = predictor(str(tmp_path / "a.png"), threshold=0.3, slice=side)
        assert found.labels == whole.labels
        torch.testing.assert_close(torch.tensor(found.boxes), torch.tensor(whole.boxes), atol=1e-3, rtol=0)
        assert found.scores == pytest.approx(whole.scores, abs=1e-5)
    assert predictor(str(tmp_path / "a.png"), threshold=0.3, slice=64).boxes
    with pytest.raises(ConfigError, match="slice is 3; it must be at least"):
        predictor(str(tmp_path / "a.png"), slice=3)
