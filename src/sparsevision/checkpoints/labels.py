"""Names for the outputs of released models, whose files carry none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from sparsevision.types import ClassMetadata

if TYPE_CHECKING:
    from timm.data.imagenet_info import ImageNetInfo


def public_classes(label_set: str | None) -> tuple[tuple[str, ...] | None, ClassMetadata]:
    """Returns names and metadata of the classes of a public label set; none of a head that has no such set."""
    if label_set is None:
        return None, ClassMetadata()
    labels = _LABEL_SETS[label_set]()
    # These outputs are the data set's own numbers.
    return labels, ClassMetadata(category_ids=tuple(range(len(labels))) if label_set == "coco" else None)


@cache
def coco_labels() -> tuple[str, ...]:
    """Returns names for 91 outputs that are COCO's category ids; eleven of these are unused."""
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    names = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return tuple(f"unused {index}" if name in ("__background__", "N/A") else name for index, name in enumerate(names))


@cache
def imagenet_labels() -> tuple[str, ...]:
    """Returns the class names of ImageNet-1K in the order of public classifiers' 1,000 outputs, from timm's table."""
    names = [_table().index_to_description(index) for index in range(_table().num_classes())]
    repeated = {name for name, count in Counter(names).items() if count > 1}
    # A crane is a bird and a machine.
    pairs = zip(names, imagenet_synsets(), strict=True)
    return tuple(f"{name} ({synset})" if name in repeated else name for name, synset in pairs)


@cache
def imagenet_synsets() -> tuple[str, ...]:
    """Returns the WordNet numbers that ImageNet's folders are named after, in the same order."""
    return tuple(_table().label_names())


def synonyms_of(labels: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns other names that the classes of a public label set go by, each in their order."""
    return [imagenet_synsets()] if len(labels) == 1000 and tuple(labels) == imagenet_labels() else []


def rows_by_name(theirs: Sequence[str] | None, ours: Sequence[str] | None) -> list[int | None] | None:
    """Returns for each of our classes the one of the same name among theirs; None where there is nothing to move."""
    if theirs is None or ours is None:
        return None
    # Of several names that their classes go by, the ones that ours are in.
    places = max(
        ({name: index for index, name in enumerate(names)} for names in (theirs, *synonyms_of(theirs))),
        key=lambda places: len({*ours} & places.keys()),
    )
    rows = [places.get(name) for name in ours]
    return None if rows == [*range(len(theirs))] else rows


@cache
def _table() -> ImageNetInfo:
    from timm.data.imagenet_info import ImageNetInfo

    return ImageNetInfo("imagenet-1k")


_LABEL_SETS = {"coco": coco_labels, "imagenet-1k": imagenet_labels}
