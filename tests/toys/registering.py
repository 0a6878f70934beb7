"""One table entry for each toy, made by a test, and small data sets to go with them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from sparsevision.data.layouts.registry import LAYOUTS
from sparsevision.models.registry import FAMILIES, Family
from sparsevision.tasks import TASKS, TaskEntry


def register_toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enters the layout, the task and both networks."""
    entry = TaskEntry(path="toys.counting.task:CountingTask", layouts=("tally",))
    monkeypatch.setitem(LAYOUTS, "tally", "toys.tally")
    monkeypatch.setitem(TASKS, "counting", entry)
    for name, class_name, task in (("tally_net", "TallyNet", "counting"), ("softmax_detr", "SoftmaxDETR", "detection")):
        folder = f"toys.{name}"
        family = Family(
            name=name, task=task, module=f"{folder}.network", class_name=class_name, variants=f"{folder}.variants"
        )
        monkeypatch.setitem(FAMILIES, name, family)


def draw_squares(folder: Path) -> Path:
    """Writes images of bright squares on grey, and `tally.csv`."""
    draw, lines = random.Random(0), []
    folder.mkdir(parents=True)
    for number in range(12):
        image, count = Image.new("RGB", (48, 40), (60, 60, 60)), number % 4
        for place in range(count):
            left, top = 12 * place + draw.randrange(4), draw.randrange(30)
            ImageDraw.Draw(image).rectangle((left, top, left + 7, top + 7), fill=(250, 230, 40))
        image.save(folder / f"{number:02d}.png")
        lines.append(f"{number:02d}.png,{count},{'val' if number > 8 else 'train'}")
    (folder / "tally.csv").write_text("\n".join(lines) + "\n")
    return folder


def draw_class_folders(folder: Path) -> Path:
    """Writes train and val folders of two classes."""
    for split, count in (("train", 4), ("val", 2)):
        for name, shape in (("round", "ellipse"), ("square", "rectangle")):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                image = Image.new("RGB", (56, 44), (20 * number, 90, 120))
                getattr(ImageDraw.Draw(image), shape)((8 + number, 6, 30 + number, 36), fill=(240, 200, 40))
                image.save(folder / split / name / f"{split}{number}.png")
    return folder
