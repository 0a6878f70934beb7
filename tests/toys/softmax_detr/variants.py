"""The named models."""

from __future__ import annotations

from sparsevision.models.registry import Variant
from sparsevision.types import Preprocessing
from toys.softmax_detr.network import SoftmaxDETRConfig

VARIANTS = {
    "softmax_detr_nano": Variant(
        config=SoftmaxDETRConfig(),
        preprocessing=Preprocessing(size=(64, 100), fit="short", interpolation="bilinear"),
        paper="none",
    )
}
