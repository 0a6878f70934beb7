"""Draws a small data set for detection: bright squares and discs on grey, in the layouts of COCO, YOLO and VOC."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

SHAPES = {7: "square", 3: "disc"}


def draw_coco_folder(root: Path, *, train: int = 6, val: int = 3, size: tuple[int, int] = (96, 72)) -> Path:
    """Writes images and annotations/{train,val}.json; category ids 3 and 7, the first image without objects."""
    draw = random.Random(0)
    for split, count in (("train", train), ("val", val)):
        (root / split).mkdir(parents=True)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number in range(count):
            image = Image.new("RGB", size, (draw.randrange(60, 120),) * 3)
            name = f"{number:03d}.png"
            images.append({"id": 100 + number, "file_name": name, "width": size[0], "height": size[1]})
            for _ in range(0 if number == 0 else draw.randrange(1, 4)):
                side, category = draw.randrange(16, 32), draw.choice([3, 7])
                x, y = draw.randrange(size[0] - side), draw.randrange(size[1] - side)
                shape = "rectangle" if category == 7 else "ellipse"
                colour = (250, 220, 40) if category == 7 else (60, 120, 250)
                getattr(ImageDraw.Draw(image), shape)((x, y, x + side - 1, y + side - 1), fill=colour)
                annotations.append(
                    {
                        "id": len(annotations) + 1, "image_id": 100 + number, "category_id": category,
                        "bbox": [x, y, side, side], "area": side * side, "iscrowd": 0,
                    }
                )  # fmt: skip
            image.save(root / split / name)
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for number, name in SHAPES.items()],
        }
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"{split}.json").write_text(json.dumps(content))
    return root


def _listed(root: Path, split: str) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yields every image of a split with its annotations."""
    content = json.loads((root / "annotations" / f"{split}.json").read_text())
    for image in content["images"]:
        yield image, [one for one in content["annotations"] if one["image_id"] == image["id"]]


def as_yolo_folder(root: Path, out: Path) -> Path:
    """Writes what `draw_coco_folder` drew in YOLO's layout; class 0 is the square, 1 the disc."""
    for split in ("train", "val"):
        shutil.copytree(root / split, out / "images" / split)
        (out / "labels" / split).mkdir(parents=True)
        for image, things in _listed(root, split):
            width, height = image["width"], image["height"]
            lines = []
            for one in things:
                x, y, w, h = one["bbox"]
                numbers = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
                lines.append(" ".join(map(str, (int(one["category_id"] == 3), *numbers))))
            if lines:
                (out / "labels" / split / f"{Path(image['file_name']).stem}.txt").write_text("\n".join(lines))
    (out / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [square, disc]\n")
    return out


def as_voc_folder(root: Path, out: Path) -> Path:
    """Writes the same in Pascal VOC's layout, whose corners count from 1 and are of the last pixel."""
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (out / name).mkdir(parents=True)
    for split in ("train", "val"):
        stems = []
        for image, things in _listed(root, split):
            stem = f"{split}_{Path(image['file_name']).stem}"
            stems.append(stem)
            shutil.copy(root / split / image["file_name"], out / "JPEGImages" / f"{stem}.png")
            parts = [f"<filename>{stem}.png</filename>"]
            parts.append(f"<size><width>{image['width']}</width><height>{image['height']}</height></size>")
            for one in things:
                x, y, w, h = one["bbox"]
                corners = {"xmin": x + 1, "ymin": y + 1, "xmax": x + w, "ymax": y + h}
                box = "".join(f"<{key}>{value}</{key}>" for key, value in corners.items())
                parts.append(f"<object><name>{SHAPES[one['category_id']]}</name><bndbox>{box}</bndbox></object>")
            (out / "Annotations" / f"{stem}.xml").write_text(f"<annotation>{''.join(parts)}</annotation>")
        (out / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(stems))
    return out
