"""Draws a small data set for segmentation, bright squares and discs on grey, and makes a tiny segmenter for it."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from sparsevision.checkpoints import save_checkpoint
from sparsevision.factory import create_model
from sparsevision.types import Preprocessing

CLASSES = ("background", "square", "disc")
OPTIONS = {
    "backbone": "test_efficientnet", "backbone_options": (), "width": 16, "token_width": 32, "num_heads": 4,
    "groups": 4, "head_width": 16, "head_groups": 4,
}  # fmt: skip


def draw_mask_folder(root: Path, *, train: int = 6, val: int = 3, size: tuple[int, int] = (96, 72)) -> Path:
    """Writes SPLIT/images/NNN.png, SPLIT/labels/NNN.png (0, 1, 2; 255 for a border) and classes.txt."""
    draw = random.Random(0)
    for split, count in (("train", train), ("val", val)):
        for folder in ("images", "labels"):
            (root / split / folder).mkdir(parents=True)
        for number in range(count):
            image, mask = Image.new("RGB", size, (draw.randrange(60, 120),) * 3), Image.new("L", size)
            for label, shape, colour in ((1, "rectangle", (250, 220, 40)), (2, "ellipse", (60, 120, 250))):
                side = draw.randrange(16, 32)
                x, y = draw.randrange(size[0] - side), draw.randrange(size[1] - side)
                box = (x, y, x + side - 1, y + side - 1)
                getattr(ImageDraw.Draw(image), shape)(box, fill=colour)
                getattr(ImageDraw.Draw(mask), shape)(box, fill=label, outline=255)
            image.save(root / split / "images" / f"{split}{number:03d}.png")
            mask.save(root / split / "labels" / f"{split}{number:03d}.png")
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    return root


def save_tiny_segmenter(folder: Path, *, name: str = "fpn_nano", seed: int = 0) -> Path:
    """Writes the checkpoint of a segmenter that was never trained."""
    torch.manual_seed(seed)
    model = create_model(name, num_classes=len(CLASSES), **OPTIONS).eval()
    with torch.no_grad():
        model.head.predictor.weight.mul_(50)
    return save_checkpoint(
        folder, model, name=name, preprocessing=Preprocessing(size=(64, 512), fit="short"), labels=CLASSES
    )
