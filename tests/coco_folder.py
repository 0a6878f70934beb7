"""Draws a small data set for detection in COCO's layout: bright squares and discs on grey."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

SHAPES = {7: "square", 3: "disc"}


def draw_coco_folder(root: Path, *, train: int = 6, val: int = 3, size: tuple[int, int] = (96, 72)) -> Path:
    """Writes pictures and annotations/{train,val}.json; category ids 3 and 7, the first picture without objects."""
    draw = random.Random(0)
    for split, count in (("train", train), ("val", val)):
        (root / split).mkdir(parents=True)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number in range(count):
            picture = Image.new("RGB", size, (draw.randrange(60, 120),) * 3)
            name = f"{number:03d}.png"
            images.append({"id": 100 + number, "file_name": name, "width": size[0], "height": size[1]})
            for _ in range(0 if number == 0 else draw.randrange(1, 4)):
                side, category = draw.randrange(16, 32), draw.choice([3, 7])
                x, y = draw.randrange(size[0] - side), draw.randrange(size[1] - side)
                shape = "rectangle" if category == 7 else "ellipse"
                colour = (250, 220, 40) if category == 7 else (60, 120, 250)
                getattr(ImageDraw.Draw(picture), shape)((x, y, x + side - 1, y + side - 1), fill=colour)
                annotations.append(
                    {
                        "id": len(annotations) + 1, "image_id": 100 + number, "category_id": category,
                        "bbox": [x, y, side, side], "area": side * side, "iscrowd": 0,
                    }
                )  # fmt: skip
            picture.save(root / split / name)
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for number, name in SHAPES.items()],
        }
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"{split}.json").write_text(json.dumps(content))
    return root
