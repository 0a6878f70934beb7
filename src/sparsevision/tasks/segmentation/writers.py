"""Files of masks that other programs and `train` read: palette PNGs of indices, with the table of the classes."""

from __future__ import annotations

import numpy as np
from PIL import Image

from sparsevision.data.masks import VOID_NAMES
from sparsevision.drawing.boxes import class_colours
from sparsevision.errors import ConfigError
from sparsevision.files import OutputFolder, replacing
from sparsevision.tasks.contract import Task, Writer
from sparsevision.tasks.segmentation.result import SegmentationResult

TABLE = "classes.txt"


class MaskFiles(Writer[SegmentationResult]):
    """Writes a palette PNG for each image into a folder, in the original's pixels, and `classes.txt`.

    A file has the name of its image, numbered where two images have one name; its values are the classes' places in the
    model. Such a folder, as `labels` beside the images of one folder, is a data set to train on, with the table one
    level up.
    """

    def __init__(self, folder: OutputFolder, task: Task) -> None:
        self.folder = folder
        if unfit := [name for name in task.classes if name.casefold() in VOID_NAMES or not name.isprintable()]:
            raise ConfigError(
                f"A table of the classes cannot have the name {unfit[0][:80]!r}: rename it in the weights."
            )
        colours = class_colours(task.classes, task.classes)
        self._colours = [colours[name] for name in task.classes]
        folder.make()
        rows = [f"{place}\t{name}\t" + "\t".join(map(str, colours[name])) for place, name in enumerate(task.classes)]
        with folder.writing(TABLE) as path, replacing(path) as part:
            part.write_text("\n".join(["index\tname\tr\tg\tb", *rows]) + "\n", encoding="utf-8")

    def add(self, result: SegmentationResult) -> None:
        """Writes the mask of one image, or frame."""
        name = f"{self.folder.stem(result.name.replace('#frame ', '-frame-'), ['.png'])}.png"
        image = Image.fromarray(result.labels)
        image.putpalette(np.array(self._colours, dtype=np.uint8).ravel().tolist())
        with self.folder.writing(name) as path, replacing(path) as part:
            image.save(part)


def open_masks(folder: OutputFolder, task: Task) -> MaskFiles:
    """Opens a folder for masks."""
    return MaskFiles(folder, task)
