"""Masks in every layout that is read: which class a pixel is of, and what is refused in a sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mask_folder import draw_mask_folder
from sparsevision.data.masks import IGNORED, read_classes
from sparsevision.errors import DataError, UnreadableImageError
from sparsevision.tasks import inspect_dataset, open_dataset, task_of_data

ROWS = np.arange(12, dtype=np.uint8).reshape(3, 4)


def picture(path: Path, size: tuple[int, int] = (4, 3)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 40)).save(path)
    return path


def mask(path: Path, values: np.ndarray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path)
    return path


def pairs(root: Path, values: np.ndarray, *, splits: tuple[str, ...] = ("train", "val")) -> Path:
    for split in splits:
        picture(root / split / "images" / f"{split}.png")
        mask(root / split / "labels" / f"{split}.png", values)
    return root


def target(root: Path, split: str = "train", index: int = 0) -> np.ndarray:
    found: np.ndarray = open_dataset(root, split, task="segmentation").read(index).target
    return found


def classes(root: Path, text: str) -> Path:
    (root / "classes.txt").write_text(text)
    return root


# ---------------------------------------------------------------------------------------------------- tables of classes


@pytest.mark.parametrize(
    "text",
    [
        "sky\nvoid\nroad\n",
        "0\tsky\n1\tvoid\n2\troad\n",
        "index,name\n2,road\n0,sky\n1,void\n",
        "name\tr\tg\tb\nsky\t1\t2\t3\nvoid\t0\t0\t0\nroad\t9\t9\t9\n",
        "# our classes\nindex\tname\tr\tg\tb\n0\tsky\t1\t2\t3\n1\tVoid\t0\t0\t0\n2\troad\t9\t9\t9\n",
    ],
)
def test_a_table_of_classes_in_any_of_its_forms(text: str, tmp_path: Path) -> None:
    names, coding = read_classes(classes(tmp_path, text) / "classes.txt")
    assert names == ("sky", "road")
    assert {index: coding.indices[index] for index in (0, 1, 2, 255)} == {0: 0, 1: IGNORED, 2: 1, 255: IGNORED}
    if "\t9" in text:
        assert coding.colours == {(1, 2, 3): 0, (0, 0, 0): IGNORED, (9, 9, 9): 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lists no classes"),
        ("void\n", "must name from 1 to 255 classes"),
        ("sky\nsky\n", "the class 'sky' twice"),
        ("0\tsky\n0\troad\n", "the index 0 twice"),
        ("0\tsky\n1\n", "the same columns"),
        ("0\tsky\n300\troad\n", "'300' where a number from 0 to 255"),
        ("sky\t1\t2\t3\nroad\t1\t2\t3\n", "the colour \\(1, 2, 3\\) twice"),
        ("sky\t1\t2\tblue\n", "'blue' where a number"),
        ("\n".join(f"c{number}" for number in range(300)), "from 1 to 255 classes"),
    ],
)
def test_a_table_that_is_none_is_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        read_classes(classes(tmp_path, text) / "classes.txt")


# ----------------------------------------------------------------------------------------------------- folders of masks


def test_indices_palettes_and_deep_values_are_indices(tmp_path: Path) -> None:
    values = ROWS % 3
    root = classes(pairs(tmp_path, values), "a\nb\nc\n")
    assert (target(root) == values).all()
    palette = Image.fromarray(values)
    palette.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    palette.save(root / "train" / "labels" / "train.png")
    assert (target(root) == values).all()
    mask(root / "train" / "labels" / "train.png", values.astype(np.uint16))
    assert (target(root) == values).all()
    mask(root / "train" / "labels" / "train.png", (values == 1), "1")
    assert (target(root) == (values == 1)).all()


def test_colours_are_read_by_the_table(tmp_path: Path) -> None:
    root = classes(pairs(tmp_path, ROWS % 2), "sky\t10\t20\t30\nroad\t200\t0\t0\n")
    colours = np.array([(10, 20, 30), (200, 0, 0)], dtype=np.uint8)[ROWS % 2]
    mask(root / "train" / "labels" / "train.png", colours)
    assert (target(root) == ROWS % 2).all()
    # Without indices a palette is no order of classes.
    reordered = Image.fromarray(1 - ROWS % 2)
    reordered.putpalette([200, 0, 0, 10, 20, 30])
    reordered.save(root / "train" / "labels" / "train.png")
    assert (target(root) == ROWS % 2).all()


def test_255_does_not_count_unless_it_is_listed(tmp_path: Path) -> None:
    values = np.where(ROWS % 2, 255, 0).astype(np.uint8)
    root = classes(pairs(tmp_path, values), "0\tback\n255\tcell\n")
    assert (target(root) == ROWS % 2).all()
    classes(root, "back\ncell\n")
    with pytest.raises(DataError, match=r"values 0 and 255 alone.*0 for 'back' and 255 for 'cell'"):
        target(root)
    classes(root, "back\n")
    assert set(target(root).ravel().tolist()) == {0, 255}


def test_other_places_and_names(tmp_path: Path) -> None:
    values = ROWS % 2
    apart = tmp_path / "apart"
    for split in ("training", "validation"):
        picture(apart / "images" / split / "deep" / "one.jpg")
        mask(apart / "masks" / split / "deep" / "one.png", values)
    classes(apart, "a\nb\n")
    assert (target(apart, "val") == values).all()
    lists = tmp_path / "lists"
    for name in ("one", "two", "three"):
        picture(lists / "imgs" / f"{name}.png")
        mask(lists / "annotations" / f"{name}_mask.png", values)
    classes(lists, "a\nb\n")
    assert len(open_dataset(lists, "all", task="segmentation")) == 3
    (lists / "train.txt").write_text("one.png\ntwo\n")
    (lists / "val.txt").write_text("imgs/three.png\n")
    assert [Path(name).stem for name in open_dataset(lists, "train", task="segmentation").names] == ["one", "two"]
    (lists / "val.txt").write_text("four\n")
    with pytest.raises(DataError, match="1 image that is not there, first 'four'"):
        target(lists, "val")


def test_what_has_no_counterpart_is_counted(tmp_path: Path) -> None:
    root = classes(pairs(tmp_path, ROWS % 2), "a\nb\n")
    picture(root / "train" / "images" / "alone.png")
    mask(root / "train" / "labels" / "other.png", ROWS % 2)
    notes = " ".join(open_dataset(root, "train", task="segmentation").notes)
    assert "Not read: 1 image without a mask, first" in notes
    assert "Not read: 1 mask without an image, first" in notes


def test_an_undivided_set_is_divided(tmp_path: Path) -> None:
    for number in range(10):
        picture(tmp_path / "images" / f"{number}.png", (4 + number, 3))
        mask(tmp_path / "labels" / f"{number}.png", np.zeros((3, 4 + number), np.uint8))
    classes(tmp_path, "a\nb\n")
    train, val = (open_dataset(tmp_path, split, task="segmentation") for split in ("train", "val"))
    assert len(train) + len(val) == 10
    assert not {*train.names} & {*val.names}


BAD: list[tuple[str, Callable[[Path], object], str]] = [
    ("an index of no class", lambda path: mask(path, ROWS), "has pixels of index 2 and 9 more indices"),
    ("another size", lambda path: mask(path, ROWS.T % 2), "is a mask of 3 x 4 pixels of an image of 4 x 3"),
    ("colours", lambda path: mask(path, np.dstack([ROWS] * 3)), "gives the classes none: add columns r, g and b"),
    ("no image", lambda path: path.write_bytes(b"no image"), "cannot be read as a mask: its content is none"),
    ("a cut file", lambda path: path.write_bytes(path.read_bytes()[:40]), "cannot be read as a mask"),
    ("a JPEG", lambda path: Image.fromarray(ROWS % 2).save(path, "JPEG"), "whose compression changes masks"),
    ("an empty file", lambda path: path.write_bytes(b""), "it is empty"),
    ("deep values", lambda path: mask(path, ROWS.astype(np.uint16) * 1000), "has pixels of index 1000"),
]


@pytest.mark.parametrize(("what", "spoil", "words"), BAD, ids=[row[0] for row in BAD])
def test_a_bad_mask_is_a_sentence(
    what: str, spoil: Callable[[Path], object], words: str, tmp_path: Path
) -> None:  # fmt: skip
    root = classes(pairs(tmp_path, ROWS % 2), "a\nb\n")
    spoil(root / "train" / "labels" / "train.png")
    with pytest.raises(UnreadableImageError, match=words):
        target(root)
    report = inspect_dataset(root)
    assert "cannot be used" in " ".join(report.harmful)
    assert words.split("(")[0][:20] in report.broken["train"][0].reason


def test_smoothed_colours_are_called_so(tmp_path: Path) -> None:
    root = classes(pairs(tmp_path, ROWS % 2), "a\t0\t0\t0\nb\t250\t0\t0\n")
    ramp = np.zeros((8, 40, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 250, 40, dtype=np.uint8)
    picture(root / "train" / "images" / "train.png", (40, 8))
    mask(root / "train" / "labels" / "train.png", ramp)
    with pytest.raises(UnreadableImageError, match=r"38 colours .* it seems to be smoothed or compressed"):
        target(root)


def test_a_set_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no classes\.txt: write a line for each class"):
        target(pairs(tmp_path, ROWS % 2))


# ---------------------------------------------------------------------------------------------------------- benchmarks


def test_ade20k(tmp_path: Path) -> None:
    for split in ("training", "validation"):
        picture(tmp_path / "images" / split / f"ADE_{split}_1.jpg")
        mask(tmp_path / "annotations" / split / f"ADE_{split}_1.png", ROWS % 3)
    table = "Idx\tRatio\tTrain\tVal\tName\n1\t.2\t9\t9\tscreen, door\n2\t.1\t9\t9\tscreen\n"
    (tmp_path / "objectInfo150.txt").write_text(table)
    found = open_dataset(tmp_path, "val")
    assert found.classes == ("screen 1", "screen 2")
    assert (found.read(0).target == np.array([255, 0, 1], np.uint8)[ROWS % 3]).all()


@pytest.mark.parametrize("kind", ["labelTrainIds", "labelIds"])
def test_cityscapes(kind: str, tmp_path: Path) -> None:
    values = np.array([0, 1, 255, 18] if kind == "labelTrainIds" else [7, 8, 4, 33], np.uint8)[ROWS % 4]
    for split in ("train", "val"):
        picture(tmp_path / "leftImg8bit" / split / "ulm" / "ulm_0_1_leftImg8bit.png")
        mask(tmp_path / "gtFine" / split / "ulm" / f"ulm_0_1_gtFine_{kind}.png", values)
        mask(tmp_path / "gtFine" / split / "ulm" / "ulm_0_1_gtFine_color.png", np.dstack([values] * 3))
    found = open_dataset(tmp_path, "train")
    assert len(found.classes) == 19
    assert (found.read(0).target == np.array([0, 1, 255, 18])[ROWS % 4]).all()


def test_lip(tmp_path: Path) -> None:
    for split in ("train", "val"):
        picture(tmp_path / "TrainVal_images" / f"{split}_images" / "1_2.jpg")
        mask(tmp_path / "TrainVal_parsing_annotations" / f"{split}_segmentations" / "1_2.png", ROWS)
    found = open_dataset(tmp_path, "val")
    assert len(found.classes) == 20
    assert (found.read(0).target == ROWS).all()


def test_pascal_voc(tmp_path: Path) -> None:
    for name in ("2007_1", "2007_2"):
        picture(tmp_path / "JPEGImages" / f"{name}.jpg")
        mask(tmp_path / "SegmentationClass" / f"{name}.png", np.where(ROWS == 3, 255, ROWS).astype(np.uint8), "P")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, name in (("train", "2007_1"), ("val", "2007_2")):
        (lists / f"{split}.txt").write_text(f"{name}\n")
    found = open_dataset(tmp_path, "val", task="segmentation")
    assert (len(found.classes), found.classes[15]) == (21, "person")
    assert (found.read(0).target == np.where(ROWS == 3, 255, ROWS)).all()
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nback:0,0,0::\ncell:250,0,0::\n")
    mask(tmp_path / "SegmentationClass" / "2007_2.png", np.dstack([250 * (ROWS % 2), ROWS * 0, ROWS * 0]))
    named = open_dataset(tmp_path, "val", task="segmentation")
    assert named.classes == ("back", "cell")
    assert (named.read(0).target == ROWS % 2).all()


def coco(root: Path, annotations: list[dict[str, object]], categories: list[dict[str, object]]) -> Path:
    (root / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        picture(root / split / "1.png", (12, 10))
        rows = [
            {"id": number, "image_id": 1, "bbox": [0, 0, 5, 5], "area": 9, "iscrowd": 0, **row}
            for number, row in enumerate(annotations)
        ]
        images = [{"id": 1, "file_name": "1.png", "width": 12, "height": 10}]
        content = {"images": images, "annotations": rows, "categories": categories}
        (root / "annotations" / f"{split}.json").write_text(json.dumps(content))
    return root


CATEGORIES: list[dict[str, object]] = [{"id": 4, "name": "cat"}, {"id": 9, "name": "dog"}]


def test_coco_polygons_run_lengths_and_crowds(tmp_path: Path) -> None:
    from pycocotools import mask as oracle

    area = np.zeros((10, 12), np.uint8)
    area[2:5, 3:9] = 1
    packed = oracle.encode(np.asfortranarray(area))
    runs = {"size": [10, 12], "counts": packed["counts"].decode()}
    rows = [
        {"category_id": 4, "segmentation": [[0, 0, 12, 0, 12, 8, 0, 8]]},
        {"category_id": 9, "segmentation": runs},
        {"category_id": 9, "segmentation": {"size": [10, 12], "counts": [118, 2]}, "iscrowd": 1},
    ]
    root = coco(tmp_path, rows, CATEGORIES)
    assert task_of_data(root) == "detection"
    found = open_dataset(root, "train", task="segmentation")
    assert found.classes == ("background", "cat", "dog")
    mask_found = found.read(0).target
    assert (mask_found[:8][area[:8] == 0] == 1).all()
    assert (mask_found[area == 1] == 2).all()
    assert (mask_found[8:, :11] == 0).all()
    assert mask_found[8:, 11].tolist() == [255, 255]


def test_coco_stuff_and_boxes_without_outlines(tmp_path: Path) -> None:
    stuff = [{"category_id": 4, "segmentation": [[0, 0, 6, 0, 6, 10, 0, 10]]}]
    other: list[dict[str, object]] = [*CATEGORIES, {"id": 183, "name": "other"}]
    found = open_dataset(coco(tmp_path / "stuff", stuff, other), "train", task="segmentation")
    assert found.classes == ("cat", "dog", "other")
    assert set(found.read(0).target[:, 6:].ravel().tolist()) == {255}
    bare = [*stuff, {"category_id": 9, "segmentation": [], "bbox": [8, 0, 2, 3]}]
    found = open_dataset(coco(tmp_path / "bare", bare, CATEGORIES), "train", task="segmentation")
    assert (found.read(0).target[:3, 8:10] == 255).all()
    assert "1 things of train.json have no outline: the pixels in their boxes do not count." in found.notes


@pytest.mark.parametrize(
    "outline",
    [[[1, 2]], [[1, 2, 3, 4, 5]], [["a"] * 6], {"size": [3, 3], "counts": [9]}, {"size": [10, 12], "counts": "~~"},
     {"counts": [120]}, [[1, 2, 3, 4, float("nan"), 6]]],
)  # fmt: skip
def test_outlines_that_cannot_be_drawn_are_a_sentence(outline: object, tmp_path: Path) -> None:
    root = coco(tmp_path, [{"category_id": 4, "segmentation": [[0, 0, 6, 0, 6, 9]]}], CATEGORIES)
    content = json.loads((root / "annotations" / "train.json").read_text())
    content["annotations"][0]["segmentation"] = outline
    (root / "annotations" / "train.json").write_text(json.dumps(content))
    with pytest.raises(UnreadableImageError, match="cannot be drawn"):
        target(root)


# -------------------------------------------------------------------------------------------------------------- doctor


def test_doctor_names_what_is_wrong(tmp_path: Path) -> None:
    root = draw_mask_folder(tmp_path / "data")
    report = inspect_dataset(root)
    assert not report.harmful
    shares = {name: share for split in report.splits for name, share in split.shares.items()}
    assert set(shares) == {"background", "square", "disc"}
    assert all(0 < split.void < 0.1 for split in report.splits)
    # A class that val lacks, a copy across splits, and a mask that is void.
    for path in (root / "val" / "labels").iterdir():
        values = np.asarray(Image.open(path)).copy()
        values[values == 2] = 0
        mask(path, values)
    shutil.copy(root / "train" / "images" / "train000.png", root / "val" / "images" / "val000.png")
    mask(root / "train" / "labels" / "train001.png", np.full((72, 96), 255, np.uint8))
    report = inspect_dataset(root)
    harmful, notes = " ".join(report.harmful), " ".join(report.notes)
    assert "disc" in harmful
    assert "more than one split" in harmful
    assert "train001" in notes


def test_a_mask_is_turned_as_its_image_is(tmp_path: Path) -> None:
    root = classes(pairs(tmp_path, ROWS % 2), "a\nb\n")
    for path in (root / "train" / "labels" / "train.png", root / "train" / "images" / "train.png"):
        image = Image.open(path)
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
    assert (target(root) == np.rot90(ROWS % 2, -1)).all()


def test_files_of_one_channel_are_read_by_colours_where_those_alone_are_listed(tmp_path: Path) -> None:
    root = classes(pairs(tmp_path, ROWS % 2), "cell,255,255,255\nback,0,0,0\n")
    path = root / "train" / "labels" / "train.png"
    mask(path, ROWS % 2 == 1, "1")
    assert (target(root) == 1 - ROWS % 2).all()
    mask(path, 255 * (ROWS % 2))
    assert (target(root) == 1 - ROWS % 2).all()
    mask(path, (ROWS % 2).astype(np.uint16))
    with pytest.raises(UnreadableImageError, match="has deep values"):
        target(root)


def test_files_of_one_name_are_refused(tmp_path: Path) -> None:
    root = classes(pairs(tmp_path, ROWS % 2), "a\nb\n")
    for extra in (
        picture(root / "train" / "images" / "train.bmp"),
        mask(root / "train" / "labels" / "train.tif", ROWS % 2),
        mask(root / "train" / "labels" / "train_mask.png", ROWS % 2),
    ):
        with pytest.raises(DataError, match=r"have the same name but for their endings"):
            target(root)
        extra.unlink()
    assert (target(root) == ROWS % 2).all()


def test_lists_do_not_guess(tmp_path: Path) -> None:
    for name in ("cam1/001", "cam2/001", "my image"):
        picture(tmp_path / "images" / f"{name}.png")
        mask(tmp_path / "labels" / f"{name}.png", ROWS % 2)
    classes(tmp_path, "a\nb\n")
    (tmp_path / "val.txt").write_text("cam2/001\n")
    (tmp_path / "train.txt").write_text("my image.png\ncam1/001.png 1\nmy image\n")
    found = open_dataset(tmp_path, "train", task="segmentation")
    assert [Path(name).name for name in found.names] == ["my image.png", "001.png"]
    assert "Not read: 1 line that names an image of train.txt again." in found.notes
    (tmp_path / "train.txt").write_text("001\n")
    with pytest.raises(DataError, match=r"'001', which is .*cam1.* or .*cam2.*: write its folder"):
        target(tmp_path)


def test_0_and_255_in_a_palette_are_refused_and_a_listed_void_is_not(tmp_path: Path) -> None:
    values = np.where(ROWS % 2, 255, 0).astype(np.uint8)
    root = classes(pairs(tmp_path, values), "back\ncell\n")
    for split in ("train", "val"):
        image = Image.fromarray(values)
        image.putpalette([0, 0, 0] + [255] * 765)
        image.save(root / split / "labels" / f"{split}.png")
    with pytest.raises(DataError, match="values 0 and 255 alone"):
        target(root)
    classes(root, "0\tback\n1\tcell\n255\tvoid\n")
    assert set(target(root).ravel().tolist()) == {0, 255}


def test_long_numbers_and_tables_are_sentences(tmp_path: Path) -> None:
    root = classes(pairs(tmp_path, ROWS % 2), "9" * 5000 + "\tback\n1\tcell\n")
    with pytest.raises(DataError, match="where a number from 0 to 255"):
        target(root)
    (tmp_path / "ade" / "images" / "training").mkdir(parents=True)
    (tmp_path / "ade" / "annotations" / "training").mkdir(parents=True)
    rows = {"heading": "Idx\tName\n", "long": "9" * 5000 + "\tx\n"}
    rows["many"] = "".join(f"{n}\tc{n}\n" for n in range(1, 301))
    for text in rows.values():
        (tmp_path / "ade" / "objectInfo150.txt").write_text(text)
        with pytest.raises(DataError, match=r"must name from 1 to 255|must number its classes"):
            open_dataset(tmp_path / "ade", "train")


def test_outlines_are_in_the_pixels_of_the_json(tmp_path: Path) -> None:
    rows = [{"category_id": 4, "segmentation": [[2, 2, 6, 2, 6, 6, 2, 6]]}]
    root = coco(tmp_path, rows, CATEGORIES)
    picture(root / "train" / "1.png", (24, 20))
    found = open_dataset(root, "train", task="segmentation").read(0).target
    expected = np.zeros((20, 24), np.uint8)
    expected[4:12, 4:12] = 1
    assert (found == expected).all()
    picture(root / "train" / "1.png", (10, 12))
    with pytest.raises(UnreadableImageError, match=r"says 12 x 10: its outlines cannot be laid on it"):
        target(root)


def test_outlines_change_the_fingerprint_and_cannot_walk_forever(tmp_path: Path) -> None:
    prints = []
    for number, corner in enumerate((5.0, 6.0)):
        rows = [{"category_id": 4, "segmentation": [[0, 0, corner, 0, 6, 9]]}]
        prints.append(
            open_dataset(coco(tmp_path / str(number), rows, CATEGORIES), "train", task="segmentation").fingerprint
        )
    assert prints[0] != prints[1]
    zigzag = [value for number in range(400) for value in (12 * (number % 2), number % 10)]
    root = coco(tmp_path / "long", [{"category_id": 4, "segmentation": [zigzag]}], CATEGORIES)
    with pytest.raises(UnreadableImageError, match="edges are far longer"):
        target(root)


def test_masks_count_in_the_cache(tmp_path: Path) -> None:
    from sparsevision.data.caching import CachedDataset

    root = classes(pairs(tmp_path, ROWS % 2), "a\nb\n")
    data = CachedDataset(open_dataset(root, "train", task="segmentation"), 1)
    data.fill()
    assert data.used == 4 * 3 * 3 + 4 * 3


def test_a_set_for_two_tasks_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sparsevision.cli import main
    from sparsevision.training.recipe_defaults import choose_recipe

    root = coco(tmp_path, [{"category_id": 4, "segmentation": [[0, 0, 6, 0, 6, 9]]}], CATEGORIES)
    _, notes = choose_recipe(None, data=str(root), model=None)
    assert notes[-1].endswith(
        "is taken as a data set for detection, and is one for segmentation, too: name a --model for it."
    )
    assert len(choose_recipe(None, data=str(root), model="vt_fpn_nano")[1]) == 1
    main(["doctor", str(root)])
    assert "is one for segmentation, too: name a --task for it." in " ".join(capsys.readouterr().out.split())
    main(["doctor", str(root), "--task", "segmentation"])
    assert "background" in capsys.readouterr().out
