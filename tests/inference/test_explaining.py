"""Explanations of images, one batch after another."""

from pathlib import Path

import pytest
from PIL import Image

from sparsevision import Predictor, explain_images


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    for index in range(3):
        Image.new("RGB", (40, 30), (60 * index, 0, 90)).save(tmp_path / f"{index}.png")
    (tmp_path / "1.png").write_bytes(b"no image")
    return [str(tmp_path / f"{index}.png") for index in (0, 1, 2)] + [str(tmp_path / "nothing-*.png")]


def test_images_are_explained_as_they_are_asked_for(images: list[str]) -> None:
    predictor = Predictor("sparseformer_nano", "cpu", batch_size=1)
    explanations = explain_images(predictor, images)
    first = next(explanations)
    assert first.result.name == images[0]
    assert first.size == (40, 30)
    assert not predictor.skipped, "a image was read before it was asked for"
    assert [explanation.result.name for explanation in explanations] == [images[2]]
    reasons = [Path(left_out.name).name for left_out in predictor.skipped]
    assert sorted(reasons) == ["1.png", "nothing-*.png"]
