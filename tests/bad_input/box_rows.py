"""Bad input that a detector is trained on: COCO's json, YOLO's texts, Pascal VOC's xml files."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench import Bench
from rows import Row, nothing, read, refused, skipped

from coco_folder import as_voc_folder, as_yolo_folder, draw_coco_folder

DETECT = "train --recipe bccd_nano --out {out} --data {bad}"
LEARN = f"{DETECT} " + " ".join(
    f"--set {field}"
    for field in (
        "model.config.backbone=test_efficientnet", "model.config.backbone_options=[]", "model.config.encoder_depth=1",
        "model.config.decoder_depth=1", "model.config.ffn_width=16", "model.config.num_queries=8",
        "model.config.encoder_heads=none", "data.batch=3", "data.cache_mebibytes=1", "transforms.short_sides=[64]",
        "transforms.longest=100", "transforms.crop=0", "transforms.evaluation.size=64", "transforms.canvas=none",
        "schedule.epochs=1", "schedule.warmup_epochs=0", "ema.decay=0", "run.workers=0",
    )
)  # fmt: skip

Content = dict[str, Any]
BILLION = "<!DOCTYPE a [<!ENTITY b '" + "c" * 99 + "'><!ENTITY d '&b;&b;&b;'>]>"


def coco(b: Bench) -> Path:
    """A sound data set in COCO's layout."""
    return draw_coco_folder(b.place / "bad")


def edited(change: Callable[[Content], object]) -> Callable[[Bench], Path]:
    """A data set in COCO's layout, with another content of train.json."""

    def make(b: Bench) -> Path:
        path = coco(b) / "annotations" / "train.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        return b.place / "bad"

    return make


def told(content: bytes | str) -> Callable[[Bench], Path]:
    """A data set in COCO's layout, with other bytes in train.json."""
    return lambda b: (coco(b), b.file("bad/annotations/train.json", content))[0]


def of(key: str, **values: Any) -> Callable[[Bench], Path]:
    """A data set in COCO's layout, whose first row of a list says something else."""
    return edited(lambda content: content[key][0].update(values))


def twice(key: str) -> Callable[[Bench], Path]:
    """A data set in COCO's layout, with the first row of a list once more."""
    return edited(lambda content: content[key].append(content[key][0]))


def yolo(name: str, content: bytes | str) -> Callable[[Bench], Path]:
    """A data set in YOLO's layout with one file of other content."""

    def make(b: Bench) -> Path:
        folder = as_yolo_folder(draw_coco_folder(b.place / "coco"), b.place / "bad")
        b.file(f"bad/{name}", content)
        return folder

    return make


def voc(old: str, new: str) -> Callable[[Bench], Path]:
    """A data set in Pascal VOC's layout with a word replaced in one xml."""

    def make(b: Bench) -> Path:
        folder = as_voc_folder(draw_coco_folder(b.place / "coco"), b.place / "bad")
        page = folder / "Annotations" / "train_001.xml"
        page.write_text(page.read_text().replace(old, new, 1))
        return folder

    return make


def without(make: Callable[[Bench], Path], name: str) -> Callable[[Bench], Path]:
    """A data set that lacks a file or a folder."""

    def made(b: Bench) -> Path:
        folder = make(b)
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
        return folder

    return made


LINE = "labels/train/001.txt"
NAMES = "names: [square, disc]\n"
NESTED = "".join(f"{a}: &{a} [{', '.join([f'*{b}'] * 9)}]\n" for b, a in pairwise("abcdefghij"))

BOXES = [
    Row("absent", "no such folder",
        DETECT, lambda b: b.place / "bad", refused("The folder", "bad does not exist")),
    Row("no boxes", "images in class folders, for a detector",
        DETECT.replace("{bad}", "{data}"), nothing, refused("data has no boxes", "annotations/train.json")),
    Row("photographs of scenes", "no photographs to place digits on",
        "train --recipe digit_scenes_nano --out {out} --data digit-scenes:{bad}", lambda b: b.place / "bad",
        refused("bad does not exist")),
    Row("part of detection data held out", "no boxes for val, of which a part of train takes the place",
        LEARN + " --set data.held_out=0.2 --set data.batch=2", without(coco, "annotations/val.json"), read("finished")),
    Row("cut json", "a json that stops in the middle",
        DETECT, told('{"images": ['), refused("train.json is not intact JSON")),
    Row("no text", "a json of bytes that are not text",
        DETECT, told(b"\xff\xfe\0"), refused("train.json is not a text in UTF-8")),
    Row("deep json", "a hundred thousand brackets",
        DETECT, told("[" * 100_000), refused("train.json is not intact JSON")),
    Row("pickle for json", "a pickle that would execute code, under the json's name",
        DETECT, lambda b: told(pickle.dumps(b.trap))(b), refused("train.json is not a text in UTF-8")),
    Row("list for json", "a json that is a list",
        DETECT, told("[]"), refused("train.json is not in COCO's layout")),
    Row("no list", "a json without images",
        DETECT, edited(lambda content: content.pop("images")), refused("no list 'images'")),
    Row("no images listed", "a json whose list of images is empty",
        DETECT, edited(lambda content: content.update(images=[])), refused("train.json lists no images")),
    Row("no categories", "a json whose list of categories is empty",
        DETECT, edited(lambda content: content.update(categories=[])), refused("categories")),
    Row("no val json", "boxes for train alone",
        LEARN + " --set data.batch=2", without(coco, "annotations/val.json"), read("finished")),
    Row("no images' folder", "a json without the folder of its images",
        DETECT, without(coco, "train"), refused("no folder of images", "'train'")),
    Row("category unknown", "a box of a category that is not listed",
        DETECT, of("annotations", category_id=5), refused("a category 5", "does not list")),
    Row("image unknown", "a box on an image that is not listed",
        DETECT, of("annotations", image_id=5), refused("an image 5", "does not list")),
    Row("id of letters", "a category whose id is a word",
        DETECT, of("categories", id="seven"), refused("'seven'", "not a whole number")),
    Row("category twice", "two categories of one id",
        DETECT, twice("categories"), refused("categories that cannot be told apart")),
    Row("image twice", "two images of one id",
        DETECT, twice("images"), refused("two images the id 100")),
    Row("three numbers", "a box of three numbers",
        DETECT, of("annotations", bbox=[1, 2, 3]), refused("[1, 2, 3]", "not four numbers")),
    Row("box of words", "a box of words",
        DETECT, of("annotations", bbox=["a", "b", "c", "d"]), refused("not four numbers")),
    Row("box of nan", "a box of no numbers",
        DETECT, of("annotations", bbox=[1, 2, float("nan"), 4]), refused("not finite")),
    Row("gigantic box", "a box with a number of four hundred digits",
        DETECT, of("annotations", bbox=[1, 2, 10**400, 4]), refused("not four numbers")),
    Row("no box", "an annotation without a box",
        DETECT, edited(lambda content: content["annotations"][0].pop("bbox")), refused("no 'bbox'")),
    Row("size of 0", "an image that is said to be 0 pixels wide",
        DETECT, of("images", width=0), refused("'000.png'", "a size of 0")),
    Row("gigantic size", "an image that is said to be wider than any number",
        DETECT, of("images", width=10**400), refused("'000.png'", "a size of 1000")),
    Row("name of no utf-8", "a category whose name is not text",
        DETECT, of("categories", name="disc\ud800"), refused(r"disc\ud800", "not UTF-8")),
    Row("box outside", "boxes of no area, outside of the image and across its edge",
        LEARN, edited(lambda content: [
            row.update(bbox=box) for row, box in zip(
                content["annotations"], ([5, 5, 0, 0], [500, 500, 9, 9], [-50, -50, 99, 99]), strict=False)]),
        read("finished")),
    Row("damaged image", "a damaged image to train on",
        LEARN, lambda b: (coco(b), b.file("bad/train/002.png", "text " * 99))[0], skipped("002.png")),
    Row("missing image", "an image that is listed and is not there",
        LEARN, without(coco, "train/002.png"), skipped("002.png", "the file does not exist")),
    Row("odd name of an image", "an image whose name holds a zero byte",
        DETECT, of("images", file_name="a\0b.png"), refused(r"a\x00b.png", "not the name of a file")),
    Row("image's name of no utf-8", "an image whose name is not text",
        DETECT, of("images", file_name="a\ud800.png"), refused(r"a\ud800.png", "not the name of a file")),
    Row("long name", "an image whose name is longer than a file's may be",
        LEARN, without(of("images", file_name="a" * 300 + ".png"), "train/000.png"),
        skipped("aaa.png", "file name too long")),
    Row("broken yaml", "a yaml whose brackets do not close",
        DETECT, yolo("data.yaml", "names: [square, disc"), refused("data.yaml is not intact YAML")),
    Row("yaml of code", "a yaml that would execute code",
        DETECT, lambda b: yolo("data.yaml", f"names: !!python/object/apply:os.mkdir [{b.place / 'sprung'}]")(b),
        refused("data.yaml is not intact YAML")),
    Row("yaml of aliases", "a yaml of 500 bytes that unpacks to a thousand million words",
        DETECT, yolo("data.yaml", f"a: &a [x]\n{NESTED}names: [*j]\n"), refused("data.yaml has no 'names'")),
    Row("yaml of places", "the same for where the images lie",
        DETECT, yolo("data.yaml", f"a: &a [x]\n{NESTED}{NAMES}train: *j\n"), refused("data.yaml", "train")),
    Row("no names", "a yaml without the classes",
        DETECT, yolo("data.yaml", "train: images/train"), refused("data.yaml has no 'names'")),
    Row("yaml leads nowhere", "a yaml that names a folder that there is not",
        DETECT, yolo("data.yaml", f"{NAMES}train: nowhere"), refused("no images of the split 'train'")),
    Row("long place", "a yaml that names a folder longer than a folder's name may be",
        DETECT, yolo("data.yaml", f"{NAMES}train: {'a' * 300}"), refused("no images of the split 'train'")),
    Row("line of four", "a line of a box that lacks a number",
        DETECT, yolo(LINE, "0 0.5 0.5 0.1"), refused("001.txt has a line that is not a box")),
    Row("line of words", "a line with a class's name for its number",
        DETECT, yolo(LINE, "square 0.5 0.5 0.1 0.1"), refused("001.txt has a line that is not a box")),
    Row("class unknown", "a line of a class that the yaml has not",
        DETECT, yolo(LINE, "2 0.5 0.5 0.1 0.1"), refused("001.txt has the class 2")),
    Row("boxes of no text", "a file of boxes that is not text",
        DETECT, yolo(LINE, b"\xff\xfe\0"), refused("001.txt is not a text in UTF-8")),
    Row("cut xml", "an xml that stops in the middle",
        DETECT, voc("</annotation>", ""), refused("train_001.xml is not intact XML")),
    Row("xml of entities", "an xml that unpacks to more and more words",
        DETECT, voc("<annotation>", f"{BILLION}<annotation>&d;"), refused("train_001.xml is not intact XML")),
    Row("xml of another file", "an xml that would read another file",
        DETECT, voc("<annotation>", "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/hostname'>]><annotation>&b;"),
        refused("train_001.xml is not intact XML")),
    Row("no name", "a thing without a name",
        DETECT, voc("<name>", "<name/><other>"), refused("train_001.xml is not intact XML")),
    Row("corner of words", "a corner that is not a number",
        DETECT, voc("<xmin>", "<xmin>left"), refused("train_001.xml has an object that is not a box")),
    Row("xml missing", "an image of the list without its xml",
        DETECT, without(voc("", ""), "Annotations/train_001.xml"), refused("train_001.xml", "No such file")),
]  # fmt: skip
