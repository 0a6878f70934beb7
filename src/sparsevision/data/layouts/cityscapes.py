"""Streets in Cityscapes' layout: `leftImg8bit/SPLIT/CITY` and `gtFine/SPLIT/CITY`."""

from __future__ import annotations

from pathlib import Path

from sparsevision.data.layouts.masked_images import Home, Homes, MaskedImages, folders_in, layout_functions, ordered
from sparsevision.data.masks import IGNORED, MaskCoding

UNMARKED = False
_IMAGES, _MASKS = "leftImg8bit", "gtFine"
_CLASSES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
# The numbers of these classes in files of labelIds; all others are not scored.
_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_BY_TRAIN_ID = MaskCoding(
    {IGNORED: IGNORED} | {label: label for label in range(len(_CLASSES))}, source="Cityscapes' table of trainIds"
)
_BY_ID = MaskCoding(
    dict.fromkeys((*range(34), IGNORED), IGNORED) | {number: label for label, number in enumerate(_IDS)},
    source="Cityscapes' table of ids",
)


class CityscapesImages(MaskedImages):
    """The images of a split with the 19 classes that are scored.

    Masks are `*_gtFine_labelTrainIds.png`, or `*_gtFine_labelIds.png` where a split has none of the former.
    """

    layout = "Cityscapes"

    def __init__(self, root: Path, split: str | None, *, side: int | None = None) -> None:
        homes = _homes(root)
        home = homes.get(split)
        trained = home is not None and any(home.masks.glob("*/*_labelTrainIds.png"))
        ending = f"_{_MASKS}_label{'TrainIds' if trained else 'Ids'}"
        super().__init__(
            root, homes, split, _CLASSES, _BY_TRAIN_ID if trained else _BY_ID, side=side,
            image_key=lambda path: _without(path, f"_{_IMAGES}"), mask_key=lambda path: _without(path, ending),
        )  # fmt: skip


def _homes(root: Path) -> Homes:
    images, masks = folders_in(root / _IMAGES), folders_in(root / _MASKS)
    return ordered({split: Home(images[split], masks[split]) for split in images.keys() & masks.keys()})


def _without(path: Path, ending: str) -> str | None:
    """Returns the place of a file without an ending of its name, None where it has another one."""
    return (path.parent / path.stem.removesuffix(ending)).as_posix() if path.stem.endswith(ending) else None


recognises, splits, open_split = layout_functions(_homes, CityscapesImages)
