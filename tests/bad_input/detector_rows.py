"""Bad input of detectors: options out of range, options of the other kind of model, videos, ids, boxes."""

from __future__ import annotations

import json
from pathlib import Path

from rows import Row, nothing, read, refused, skipped

FIND = "predict {bad} {image} --model {detector} --json"
FOUND = "predict {image} --model {detector}"
NAMED = "predict {image} --model {model}"
SCORE = "evaluate {detector} --data {boxes}"
SCORE_BAD = "evaluate {detector} --data {bad}"

DETECTORS = [
    Row("high threshold", "a score above 1",
        FOUND + " --threshold 1.5", nothing, refused("threshold is 1.5", "from 0 to 1")),
    Row("threshold of nothing", "a score that is not a number",
        FOUND + " --threshold nan", nothing, refused("threshold is nan")),
    Row("tiny slices", "slices of three pixels",
        FOUND + " --slice 3", nothing, refused("slice is 3", "at least")),
    Row("doubles beyond all", "an overlap above 1",
        FOUND + " --nms 2", nothing, refused("nms is 2", "from 0 to 1")),
    Row("keep nothing", "no tokens to update",
        FOUND + " --keep-ratio 0", nothing, refused("keep_ratio is 0", "from 0.01 to 1")),
    Row("keep too much", "more tokens than there are",
        FOUND + " --keep-ratio 2", nothing, refused("keep_ratio is 2", "from 0.01 to 1")),
    Row("top of a detector", "classes to name, of a detector",
        FOUND + " --top-k 3", nothing,
        refused("'--top-k'", "for this model is --threshold, --max-objects, --nms, --slice, --keep-ratio")),
    Row("features of a detector", "pooled features of a detector",
        FOUND + " --features {bad}", lambda b: b.place / "f.npz", refused("no pooled features")),
    Row("threshold of a classifier", "a threshold for a classifier",
        NAMED + " --threshold 0.5", nothing, refused("'--threshold'", "for this model is --top-k")),
    Row("keep ratio of a classifier", "a keep ratio for a classifier",
        NAMED + " --keep-ratio 0.5", nothing, refused("'--keep-ratio'", "for this model is --top-k")),
    Row("coco of a classifier", "objects of a classifier",
        NAMED + " --coco {bad}", lambda b: b.place / "f.json", refused("'--coco'", "for this model is --top-k")),
    Row("drawn by a classifier", "images drawn by a model that finds no boxes, with what it names over them",
        NAMED + " --draw {out}", nothing, read("good.png")),
    Row("coco nowhere", "a folder that there is not",
        FOUND + " --coco {bad}", lambda b: b.place / "none" / "f.json", refused("none' for the detections does")),
    Row("annotations alone", "ids for nothing",
        FOUND + " --annotations {bad}", lambda b: b.place / "ids.json", refused("--annotations", "--coco")),
    Row("no annotations", "ids out of a file that there is not",
        FOUND + " --coco {out} --annotations {bad}", lambda b: b.place / "ids.json",
        refused("ids.json cannot be read")),
    Row("damaged annotations", "ids out of half a json",
        FOUND + " --coco {out} --annotations {bad}", lambda b: b.file("ids.json", '{"images": ['),
        refused("ids.json is not intact JSON")),
    Row("other annotations", "ids of other images",
        FOUND + " --coco {out} --annotations {bad}", lambda b: b.boxes / "annotations" / "val.json",
        refused("None of 1 results was written", "good.png is not listed in the annotations")),
    Row("drawn into a file", "a file where a folder is to be",
        FOUND + " --draw {bad}", lambda b: b.file("drawn", "text"), refused("drawn")),
    Row("empty video", "a video of 0 bytes",
        FIND, lambda b: b.file("bad.mp4", b""), skipped("bad.mp4 cannot be read as a video")),
    Row("broken video", "a text with a video's name",
        FIND, lambda b: b.file("bad.mp4", "text " * 99), skipped("bad.mp4 cannot be read as a video")),
    Row("absent video", "no such video",
        FIND, lambda b: b.place / "bad.mp4", skipped("bad.mp4 cannot be read as a video")),
    Row("no camera", "a camera that there is not",
        FIND, lambda b: "camera:77", skipped("camera:77 cannot be read as a camera")),
    Row("image for a detector", "a text with an image's name",
        FIND, lambda b: b.file("bad.jpg", "text " * 99), skipped("bad.jpg", "none of the known formats")),
    Row("score without boxes", "class folders for a detector",
        "evaluate {detector} --data {data}", nothing, refused("has no boxes")),
    Row("score half a json", "boxes in half a json",
        SCORE_BAD, lambda b: b.emptied("boxes/annotations/val.json", '{"images": ['), refused("not intact JSON")),
    Row("score other classes", "boxes of a class that the detector does not know",
        SCORE_BAD, lambda b: b.emptied("boxes/annotations/val.json", _renamed(b.boxes / "annotations" / "val.json")),
        refused("'star'", "the model does not know")),
    Row("score absent test", "a split that there is not",
        SCORE + " --split test", nothing, refused("no split 'test'")),
    Row("confusions of a detector", "a matrix that detectors have not",
        SCORE + " --confusion {bad}", lambda b: b.place / "f.csv",
        refused("'--confusion'", "for this model is --keep-ratio, --selection")),
    Row("score nothing kept", "no tokens to update",
        SCORE + " --keep-ratio 0", nothing, refused("keep_ratio is 0")),
    Row("sweep too much kept", "more tokens than there are",
        SCORE + " --keep-ratio 0.1 2", nothing, refused("keep_ratio is 2")),
    Row("selection misspelt", "a selection that the model has not",
        SCORE + " --selection randon", nothing, refused("'randon'", "'random'")),
    Row("sweep in batches", "batches, where images take turns",
        SCORE + " --batch-size 2 --out {out}", nothing, refused("one by one", "--batch-size")),
    Row("sweep into a file", "a file where a folder is to be",
        SCORE + " --out {bad}", lambda b: b.file("sweep", "text"), refused("sweep")),
    Row("keep ratio in scoring a classifier", "a keep ratio for a classifier",
        "evaluate {model} --data {data} --keep-ratio 0.5", nothing,
        refused("'--keep-ratio'", "for this model is --confusion")),
    Row("sweep a classifier", "a sweep of what has no keep ratio",
        "evaluate {model} --data {data} --out {out}", nothing, refused("no control or choice to sweep")),
    Row("test of class folders", "a split that class folders have not",
        "evaluate {model} --data {data} --split test", nothing,
        refused("no split 'test'", "only train, val")),
]  # fmt: skip


def _renamed(path: Path) -> str:
    """Boxes whose squares are stars."""
    content = json.loads(path.read_text())
    for row in content["categories"]:
        row["name"] = {"square": "star"}.get(row["name"], row["name"])
    return json.dumps(content)
