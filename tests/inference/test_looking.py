"""Looking at pictures one batch after another."""

from pathlib import Path

import pytest
from PIL import Image

from sparsevision import Predictor, look_at


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    for index in range(3):
        Image.new("RGB", (40, 30), (60 * index, 0, 90)).save(tmp_path / f"{index}.png")
    (tmp_path / "1.png").write_bytes(b"no picture")
    return [str(tmp_path / f"{index}.png") for index in (0, 1, 2)] + [str(tmp_path / "nothing-*.png")]


def test_pictures_are_looked_at_as_they_are_asked_for(pictures: list[str]) -> None:
    predictor = Predictor("sparseformer_nano", "cpu", batch_size=1)
    looks = look_at(predictor, pictures)
    first = next(looks)
    assert first.result.name == pictures[0]
    assert first.size == (40, 30)
    assert not predictor.skipped, "a picture was read before it was asked for"
    assert [look.result.name for look in looks] == [pictures[2]]
    reasons = [Path(left_out.name).name for left_out in predictor.skipped]
    assert sorted(reasons) == ["1.png", "nothing-*.png"]
