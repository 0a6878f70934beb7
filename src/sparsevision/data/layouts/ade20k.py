"""Scenes in the layout of ADE20K's benchmark: `images/training`, `annotations/training`, and objectInfo150.txt."""

from __future__ import annotations

from pathlib import Path

from sparsevision.data.layouts.masked_images import Home, Homes, MaskedImages, folders_in, layout_functions, ordered
from sparsevision.data.masks import coding_of
from sparsevision.data.splitting import split_of_folder
from sparsevision.data.texts import read_text
from sparsevision.errors import DataError

UNMARKED = False
_TABLE = "objectInfo150.txt"
_VOID = "void"  # the name of the index 0


class ADE20KImages(MaskedImages):
    """The images and masks of a split: index 0 does not count, and class `i` has the index `i + 1`.

    The table has a line for each class with its number first and its names, divided by commas, last; a class is called
    by the first of them.
    """

    layout = "ADE20K"

    def __init__(self, root: Path, split: str | None, *, side: int | None = None) -> None:
        rows = [line.rstrip().split("\t") for line in read_text(root / _TABLE).splitlines() if line.strip()]
        numbered = [row for row in rows if row[0].strip().isdecimal()]
        if [row[0].strip() for row in numbered] != [str(place + 1) for place in range(len(numbered))]:
            raise DataError(f"{root / _TABLE} must number its classes from 1, a line for each, divided by tabs.")
        listed = _different([row[-1].split(",")[0].strip() for row in numbered])
        names, coding = coding_of([_VOID, *listed], source=str(root / _TABLE))
        super().__init__(root, _homes(root), split, names, coding, side=side)


def _homes(root: Path) -> Homes:
    if not (root / _TABLE).is_file():
        return {}
    images, masks = folders_in(root / "images"), folders_in(root / "annotations")
    pairs = {split_of_folder(name): Home(images[name], masks[name]) for name in images.keys() & masks.keys()}
    return ordered({split: home for split, home in pairs.items() if split})


def _different(names: list[str]) -> list[str]:
    """Numbers the names that stand twice, as ADE20K has two classes called screen."""
    return [f"{name} {names[: place + 1].count(name)}" if names.count(name) > 1 else name
            for place, name in enumerate(names)]  # fmt: skip


recognises, splits, open_split = layout_functions(_homes, ADE20KImages)
