"""Bad input of segmenters: masks of every wrong kind, tables of classes, windows, and files that are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench import Bench, encoded
from PIL import Image
from rows import Row, nothing, read, refused, skipped

from mask_folder import draw_mask_folder

LEARN = "train --recipe masks_nano --out {out} --data {bad} " + " ".join(
    f"--set {field}"
    for field in (
        "model.name=fpn_nano", "model.backbone=none", "model.config.backbone=test_efficientnet",
        "model.config.backbone_options=[]", "model.config.width=16", "model.config.head_width=16",
        "model.config.head_groups=4", "data.batch=3", "data.cache_mebibytes=1", "transforms.size=48",
        "transforms.crop=[48,48]", "transforms.evaluation.size=48", "schedule.epochs=1", "schedule.warmup_epochs=0",
        "ema.decay=0", "run.workers=0",
    )
)  # fmt: skip
FOUND = "predict {image} --model {segmenter}"
FIND = "predict {bad} {image} --model {segmenter} --json"
SCORE = "evaluate {segmenter} --data {bad}"
SIZE = (96, 72)
MASK = "train/labels/train001.png"


def masks(b: Bench) -> Path:
    """A sound data set of images and masks."""
    return draw_mask_folder(b.place / "bad")


def stored(content: bytes | Callable[[], bytes], name: str = MASK) -> Callable[[Bench], Path]:
    """A data set with other bytes in one file."""
    return lambda b: (masks(b), b.file(f"bad/{name}", content() if callable(content) else content))[0]


def drawn(values: np.ndarray, kind: str = "PNG", name: str = MASK) -> Callable[[Bench], Path]:
    """A data set with another mask."""
    return stored(lambda: encoded(Image.fromarray(values), kind), name)


def table(text: bytes | str) -> Callable[[Bench], Path]:
    """A data set with another table of classes."""
    return lambda b: (masks(b), b.file("bad/classes.txt", text))[0]


def changed(change: Callable[[Path], object]) -> Callable[[Bench], Path]:
    """A data set in which something else was done."""

    def make(b: Bench) -> Path:
        change(folder := masks(b))
        return folder

    return make


def every(change: Callable[[np.ndarray], np.ndarray], split: str = "*") -> Callable[[Bench], Path]:
    """A data set all of whose masks have other values."""

    def edit(folder: Path) -> None:
        for path in folder.glob(f"{split}/labels/*.png"):
            Image.fromarray(change(np.array(Image.open(path)))).save(path)

    return changed(edit)


def one_pixel(b: Bench) -> Path:
    """An image of one pixel."""
    return b.file("one.png", encoded(Image.new("RGB", (1, 1)), "PNG"))


def bomb() -> bytes:
    """A PNG that declares far more pixels than its bytes can hold."""
    data = bytearray(encoded(Image.new("L", (8, 8)), "PNG"))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    return bytes(data)


def half() -> bytes:
    return encoded(Image.fromarray(np.random.default_rng(0).integers(0, 3, (72, 96), dtype=np.uint8)), "PNG")[:300]


FLAT = np.zeros((72, 96), np.uint8)
MASKS = [
    Row("absent", "no such folder",
        LEARN, lambda b: b.place / "bad", refused("The folder", "bad does not exist", "images and their masks")),
    Row("index of no class", "a mask with an index that the table does not list",
        LEARN, drawn(FLAT + 7), skipped("train001.png has pixels of index 7", "classes.txt does not list")),
    Row("another size", "a mask of another size than its image",
        LEARN, drawn(FLAT[:50]), skipped("is a mask of 96 x 50 pixels of an image of 96 x 72")),
    Row("turned", "a mask with its sides exchanged",
        LEARN, drawn(FLAT.T), skipped("is a mask of 72 x 96 pixels of an image of 96 x 72")),
    Row("colours for indices", "a mask in colours, for classes without",
        LEARN, drawn(np.dstack([FLAT] * 3)), skipped("is a mask of colours (RGB)", "add columns r, g and b")),
    Row("transparent", "a mask with a transparent channel",
        LEARN, drawn(np.dstack([FLAT] * 4)), skipped("is a mask of colours (RGBA)")),
    Row("JPEG mask", "a mask that was saved as JPEG",
        LEARN, drawn(FLAT, "JPEG"), skipped("is a JPEG, whose compression changes masks: save it as PNG")),
    Row("WebP mask", "a mask that was saved as WebP",
        LEARN, stored(lambda: encoded(Image.fromarray(FLAT).convert("RGB"), "WEBP")), skipped("is a WEBP")),
    Row("truncated mask", "a mask that stops in the middle",
        LEARN, stored(half), skipped("train001.png cannot be read as a mask")),
    Row("empty mask", "a mask of 0 bytes",
        LEARN, stored(b""), skipped("it is empty (0 bytes)")),
    Row("text for a mask", "a mask that is a text",
        LEARN, stored(b"no mask"), skipped("its content is none of the known formats")),
    Row("bomb for a mask", "a mask that unpacks to gigabytes",
        LEARN, stored(bomb), skipped("train001.png cannot be read as a mask")),
    Row("deep mask", "a mask of 16 bits with instances in it",
        LEARN, drawn(FLAT.astype(np.uint16) + 900), skipped("has pixels of index 900")),
    Row("deep mask of classes", "a mask of 16 bits with classes in it",
        LEARN, drawn(FLAT.astype(np.uint16) + 1), read("finished")),
    Row("void mask", "a mask none of whose pixels counts",
        LEARN, drawn(FLAT + 255), read("finished")),
    Row("void alone", "masks none of whose pixels counts",
        LEARN, every(lambda mask: mask * 0 + 255), read("finished")),
    Row("0 and 255", "masks of 0 and 255, for two classes or more",
        LEARN, every(lambda mask: np.where(mask % 255 > 0, 255, 0).astype(np.uint8)),
        refused("the values 0 and 255 alone", "0 for 'background' and 255 for 'square'")),
    Row("one class", "a table of one class",
        LEARN, lambda b: (every(lambda mask: mask * 0)(b), b.file("bad/classes.txt", "all\n"))[0], read("finished")),
    Row("class without pixels", "a class that no mask shows",
        LEARN, table("background\nsquare\ndisc\nstar\n"), read("finished")),
    Row("no table", "masks without a table of classes",
        LEARN, changed(lambda folder: (folder / "classes.txt").unlink()), refused("has no classes.txt")),
    Row("empty table", "a table without a class",
        LEARN, table(""), refused("classes.txt lists no classes")),
    Row("table of void", "a table that lists void alone",
        LEARN, table("void\n"), refused("must name from 1 to 255 classes")),
    Row("table of bytes", "a table that is no text",
        LEARN, table(b"\xff\xfe\0"), refused("classes.txt is not a text in UTF-8")),
    Row("class twice", "a class that is listed twice",
        LEARN, table("background\nsquare\nsquare\n"), refused("lists the class 'square' twice")),
    Row("index of letters", "an index that is no number",
        LEARN, table("0\tbackground\nx\tsquare\n2\tdisc\n"), refused("'x'", "a number from 0 to 255")),
    Row("uneven table", "lines of another number of columns",
        LEARN, table("0\tbackground\nsquare\n"), refused("the same columns in each line")),
    Row("other names", "masks that are called otherwise than images",
        LEARN, changed(lambda folder: [path.rename(path.with_name(f"m{place}.png")) for place, path in
                                       enumerate(sorted(folder.glob("train/labels/*.png")))]),
        refused("None of the 6 images", "has a mask of its name")),
    Row("no images beside masks", "masks alone",
        LEARN, changed(lambda folder: [path.unlink() for path in folder.glob("train/images/*")]),
        refused("None of the 0 images")),
    Row("damaged image of a mask", "an image that is none",
        LEARN, stored(b"no image", "train/images/train001.png"), skipped("train001.png cannot be read as an image")),
    Row("masks for a classifier", "a data set of masks and a classifier",
        "train --data {bad} --model sparseformer_nano --out {out}", masks,
        refused("is annotated for segmentation, and the model is one for classification")),
    Row("classes for a segmenter", "class folders and a segmenter",
        "train --data {data} --model vt_fpn_nano --out {out}", nothing, refused("data has no masks")),
    Row("weights of classes", "class weights of another number of classes",
        LEARN + " --set loss.class_weights=[1,2]", masks, refused("2 weights for 3 classes")),
    Row("share of pixels", "no pixel to train on",
        LEARN + " --set loss.hardest=0", masks, refused("loss.hardest")),
    Row("no loss", "neither cross entropy nor Dice",
        LEARN + " --set loss.cross_entropy=0 --set loss.dice=0", masks, refused("cross_entropy and dice are both 0")),
    Row("endless index", "an index of thousands of digits",
        LEARN, table("9" * 5000 + "\tbackground\n1\tsquare\n"), refused("a number from 0 to 255")),
    Row("two masks of one image", "masks of one name in two formats",
        LEARN, stored(lambda: encoded(Image.fromarray(FLAT), "TIFF"), "train/labels/train001.tif"),
        refused("have the same name but for their endings")),
    Row("scale that falls", "a scale whose end is below its beginning",
        LEARN + " --set transforms.scale=[2,1]", masks, refused("must rise")),
    Row("other classes", "masks of other classes than the weights have",
        SCORE, table("ground\nsquare\ndisc\n"), refused("ground")),
    Row("every mask damaged", "a data set to score without a sound mask",
        SCORE, changed(lambda folder: [path.write_bytes(b"x") for path in folder.glob("val/labels/*")]),
        refused("None of the 3 images to score could be read")),
    Row("small window", "a window that no network can see",
        FOUND + " --window 8", nothing, refused("window is 8; it must be at least 32")),
    Row("window of letters", "a window that is a word",
        FOUND + " --window all", nothing, refused("--window", "must be a number")),
    Row("large window", "a window that is larger than the image",
        FOUND + " --window 4000", nothing, read("good.png")),
    Row("one pixel", "an image of one pixel",
        FIND, one_pixel, read("one.png")),
    Row("one pixel in windows", "an image of one pixel, in windows",
        FIND + " --window 64", one_pixel, read("one.png")),
    Row("masks over a file", "a folder of masks that is a file",
        FOUND + " --masks {bad}", lambda b: b.file("masks", "text"), refused("masks' is a file")),
    Row("masks over masks", "a folder that has a mask of that name",
        FOUND + " --masks {bad}",
        lambda b: b.file("masks/classes.txt", "mine").parent, refused("classes.txt' exists already")),
    Row("masks of a detector", "masks of a model that finds boxes",
        "predict {image} --model {detector} --masks {out}", nothing, refused("'--masks'")),
    Row("no areas", "areas of less than a pixel",
        FOUND + " --min-area 0", nothing, refused("min_area is 0")),
    Row("faithfulness of a segmenter", "deletion curves of a model without one score",
        "explain --faithfulness --model {segmenter} --data {bad} --out {out}", masks,
        refused("does not give one score for each class")),
    Row("tokens of a classifier", "statistics of tokens that read no map",
        "explain --tokens --model {model} --data {data} --out {out}", nothing, refused("records no maps of tokens")),
    Row("tokens of nothing", "statistics without a data set",
        "explain --tokens --model {segmenter} --out {out}", nothing, refused("--tokens measures a data set")),
]  # fmt: skip
