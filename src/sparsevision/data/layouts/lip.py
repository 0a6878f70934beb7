"""People and their clothes in LIP's layout (Look into Person): `SPLIT_images` and `SPLIT_segmentations`."""

from __future__ import annotations

from pathlib import Path

from sparsevision.data.layouts.masked_images import Home, Homes, MaskedImages, folders_in, layout_functions, ordered
from sparsevision.data.masks import coding_of

UNMARKED = False
_CLASSES = (
    "background", "hat", "hair", "glove", "sunglasses", "upper clothes", "dress", "coat", "socks", "pants", "jumpsuit",
    "scarf", "skirt", "face", "left arm", "right arm", "left leg", "right leg", "left shoe", "right shoe",
)  # fmt: skip
# Of the archives as they are unpacked, and with both in one folder.
_HOMES = (("TrainVal_images", "TrainVal_parsing_annotations"), ("", ""))


class LIPImages(MaskedImages):
    """The images of a split with the 20 classes of LIP, the background among them."""

    layout = "LIP"

    def __init__(self, root: Path, split: str | None, *, side: int | None = None) -> None:
        classes, coding = coding_of(_CLASSES, source="LIP's table of classes")
        super().__init__(root, _homes(root), split, classes, coding, side=side)


def _homes(root: Path) -> Homes:
    found: Homes = {}
    for images, masks in _HOMES:
        shown, parsed = folders_in(root / images), folders_in(root / masks)
        for split in ("train", "val", "test"):
            if f"{split}_images" in shown and f"{split}_segmentations" in parsed:
                home = Home(shown[f"{split}_images"], parsed[f"{split}_segmentations"])
                found.setdefault(split, home)
    return ordered(found)


recognises, splits, open_split = layout_functions(_homes, LIPImages)
