"""Names for the outputs of released classifiers, whose files carry none."""

from __future__ import annotations

from functools import cache
from typing import Any


def released_labels(config: Any) -> tuple[str, ...] | None:
    """Returns ImageNet-1K's class names where a released model has its 1,000 outputs; None for other heads."""
    return imagenet_labels() if config.num_classes == 1000 else None


@cache
def imagenet_labels() -> tuple[str, ...]:
    """Returns the class names of ImageNet-1K in the order of public classifiers' 1,000 outputs, from timm's table."""
    from timm.data.imagenet_info import ImageNetInfo

    table = ImageNetInfo("imagenet-1k")
    return tuple(table.index_to_description(index) for index in range(table.num_classes()))
