"""What the doctor finds in a data set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from sparsevision.tasks import inspect_dataset

Make = Callable[..., Path]


def divided(make_folder: Make) -> Path:
    root = make_folder(split="train", per_class=5)
    make_folder(split="val", per_class=2, start=500)
    return root


def test_a_sound_data_set_has_nothing_harmful(make_folder: Make) -> None:
    told: list[tuple[int, int]] = []
    report = inspect_dataset(str(divided(make_folder)), progress=lambda done, of: told.append((done, of)))
    assert report.harmful == ()
    assert report.notes == ()
    train, val = report.splits
    assert (train.split, train.images, val.split, val.images) == ("train", 15, "val", 6)
    assert train.per_class == {"ant": 5, "bee": 5, "cat": 5}
    assert train.sides == ((32, 32, 32), (40, 40, 40))
    assert told[-1] == (21, 21)
    assert json.loads(json.dumps(report.to_dict()))["classes"] == ["ant", "bee", "cat"]


def test_what_would_hurt_is_named(make_folder: Make) -> None:
    root = divided(make_folder)
    (root / "train" / "ant" / "broken.jpg").write_bytes(b"")
    shutil.copy(root / "train" / "bee" / "000.jpg", root / "val" / "bee" / "leaked.jpg")
    shutil.copy(root / "train" / "ant" / "001.jpg", root / "train" / "cat" / "contradicts.jpg")
    shutil.rmtree(root / "val" / "cat")
    report = inspect_dataset(str(root))
    broken, leaked, contradictory, absent = report.harmful
    assert "1 image cannot be read" in broken
    assert "train/ant/broken.jpg" in broken
    assert report.splits[0].broken[0].reason.endswith("it is empty (0 bytes).")
    assert "train/bee/000.jpg = val/bee/leaked.jpg" in leaked
    assert "more than one label" in contradictory
    assert report.contradictory == (("train/ant/001.jpg", "train/cat/contradicts.jpg"),)
    assert "1 class without an image in val: cat." in absent


def test_what_is_good_to_know_is_noted(make_folder: Make) -> None:
    root = divided(make_folder)
    Image.new("RGB", (5, 90)).save(root / "train" / "ant" / "tiny.png")
    Image.new("L", (5200, 5000)).save(root / "train" / "ant" / "gigantic.png")
    for number in range(3):
        (root / "train" / "bee" / f"{number:03}.jpg").unlink()
    crop, tiny, gigantic, few = inspect_dataset(str(root)).notes
    assert "more than 40% of 1 of 20" in crop
    assert "tiny.png" in tiny
    assert "gigantic.png" in gigantic
    assert "bee" in few


def test_a_data_set_that_cannot_be_opened_is_a_finding(tmp_path: Path) -> None:
    report = inspect_dataset(str(tmp_path / "nowhere"))
    assert len(report.harmful) == 1
    assert "does not exist" in report.harmful[0]
