"""Makes a detector that is tiny, untrained and sure of itself: its scores spread, so that thresholds divide them."""

from __future__ import annotations

from pathlib import Path

import torch

from sparsevision.checkpoints import save_checkpoint
from sparsevision.factory import create_model
from sparsevision.types import ClassMetadata, Preprocessing

OPTIONS = {
    "backbone": "test_efficientnet", "backbone_options": (), "encoder_depth": 1, "decoder_depth": 2, "ffn_width": 32,
    "num_queries": 8, "encoder_heads": "none", "num_classes": 2, "width": 256, "num_heads": 8, "dropout": 0.1,
}  # fmt: skip
LABELS = ("disc", "square")
SHOWN = Preprocessing(size=(64, 100), fit="short", interpolation="bilinear")
METADATA = ClassMetadata(category_ids=(3, 7), thresholds=(0.45, 0.55))


def save_tiny_detector(
    folder: Path,
    *,
    seed: int = 0,
    class_metadata: ClassMetadata = METADATA,
    shown: Preprocessing = SHOWN,
    **options: object,
) -> Path:
    """Writes its checkpoint; classes, and their ids, are those of `coco_folder`."""
    torch.manual_seed(seed)
    model = create_model("sparse_detr_nano", **{**OPTIONS, **options})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("backbone."):
                parameter.add_(0.05 * torch.randn_like(parameter))
        for layer in model.class_heads:
            head = model.get_submodule(layer)
            head.bias.zero_()
            head.weight.mul_(4)
    return save_checkpoint(
        folder, model, name="sparse_detr_nano", preprocessing=shown, labels=LABELS, class_metadata=class_metadata
    )
