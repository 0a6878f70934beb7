"""Folders and shards as people have them: splits by any usual name, what nobody put there passed over and told."""

from __future__ import annotations

import codecs
import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from small_images import jpeg
from sparsevision.cli import main
from sparsevision.data.splitting import split_of_file, split_of_folder
from sparsevision.data.texts import read_text
from sparsevision.errors import DataError
from sparsevision.tasks import inspect_dataset, open_dataset, task_named

Make = Callable[..., Path]
SPLITS = task_named("classification").splits


def notes(root: Path) -> str:
    return " ".join(inspect_dataset(str(root)).notes)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("Train", "train"), ("TRAIN", "train"), ("training_set", "train"), ("trainset", "train"),
        ("train2017", "train"), ("trainImages", "train"), ("training-data", "train"), ("val", "val"), ("valid", "val"),
        ("Validation", "val"), ("dev", "val"), ("test_set", "test"), ("Testing", "test"), ("test-images", "test"),
        ("trainers", None), ("train_val", None), ("freight train", None), ("testosterone", None), ("", None),
        ("values", None),
    ],
)  # fmt: skip
def test_a_folder_is_a_split_by_its_whole_name(name: str, split: str | None) -> None:
    assert split_of_folder(name) == split


def test_a_file_is_of_a_split_by_a_word_of_its_name() -> None:
    names = ("train-000", "cifar10_test_3", "imagenet-Dev-7", "valid", "shard-0", "constrained-1")
    assert [split_of_file(name) for name in names] == ["train", "test", "val", "val", None, None]
    with pytest.raises(DataError, match="tells two splits, test and train"):
        split_of_file("train-test-0")


@pytest.mark.parametrize(("train", "val"), [("Train", "Val"), ("TRAIN", "VAL"), ("training_set", "validation_set")])
def test_split_folders_of_any_spelling_are_not_classes(make_folder: Make, train: str, val: str) -> None:
    root = make_folder(split=train, per_class=5)
    make_folder(split=val, per_class=2, start=500)
    (root / "notes").mkdir()
    for split, number in (("train", 15), ("val", 6), ("all", 21)):
        assert (open_dataset(root, split).classes, len(open_dataset(root, split))) == (("ant", "bee", "cat"), number)


@pytest.mark.parametrize("test", ["test", "Test", "test_set"])
def test_what_is_called_test_is_scored_as_such_and_never_learned_from(make_folder: Make, test: str) -> None:
    root = make_folder(split="train", per_class=10)
    make_folder(split=test, per_class=3, start=500)
    assert SPLITS(str(root)) == ("train", "val", "test")
    counts = [len(open_dataset(root, split)) for split in ("train", "val", "test", "all")]
    assert counts == [24, 6, 9, 39]
    assert all(name.startswith("train") for split in ("train", "val") for name in open_dataset(root, split).names)
    assert len(open_dataset(root / test, "all")) == 9
    with pytest.raises(DataError, match=r"has no split 'test' \(it is not divided\)"):
        open_dataset(root / test, "test")


def test_a_class_of_trains_is_not_taken_for_a_split(make_folder: Make) -> None:
    root = make_folder()
    for kind in ("steam", "diesel"):
        (root / "train" / kind).mkdir(parents=True)
        (root / "train" / kind / "0.jpg").write_bytes(jpeg(len(kind)))
    with pytest.raises(DataError, match="'train', which may be a split or a class, beside 'ant': rename it"):
        open_dataset(root)


def test_two_folders_of_one_split_are_a_sentence(make_folder: Make) -> None:
    root = make_folder(split="train")
    make_folder(split="training")
    make_folder(split="val")
    with pytest.raises(DataError, match="two folders for the split 'train', 'train' and 'training'"):
        open_dataset(root)


@pytest.mark.parametrize(
    ("places", "named"),
    [(("train", "test"), "'test' and 'train'"), (("cars_train", "cars_test"), "'cars_test' and 'cars_train'"),
     (("seg_train/seg_train/ant", "seg_test/seg_test/ant", "seg_pred"), "'seg_test' and 'seg_train'")],
)  # fmt: skip
def test_splits_without_class_folders_are_not_classes(tmp_path: Path, places: tuple[str, ...], named: str) -> None:
    for place in places:
        folder = tmp_path / place
        folder.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / "0.png")
    with pytest.raises(DataError, match=f"The folders {named} in .* seem to be splits, not classes"):
        open_dataset(tmp_path)


def test_classes_with_the_word_of_a_split_are_classes(tmp_path: Path) -> None:
    for number, place in enumerate(("bullet_train", "test_tube", "valley")):
        (tmp_path / place).mkdir()
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / place / "0.png")
    assert open_dataset(tmp_path, "all").classes == ("bullet_train", "test_tube", "valley")


def test_what_is_annotated_with_boxes_is_no_class(make_folder: Make) -> None:
    root = make_folder(split="train", per_class=2)
    for path in [path for path in root.rglob("*") if path.is_file()]:
        path.with_suffix(".xml").write_text("<annotation/>")
    with pytest.raises(DataError, match=r"6 xml files lie among the images of .* if they are boxes of Pascal VOC"):
        open_dataset(root)
    with pytest.raises(DataError, match=r"is a file: give the folder of the data set, such as "):
        task_named("classification").open(str(root / "train" / "ant" / "000.xml"))


def test_a_list_of_classes_that_is_not_used_is_told(make_folder: Make) -> None:
    root = make_folder(per_class=5)
    for lines, told in (
        ("ant\tAnt\nN02\tBee", ": 1 line of "),
        ("ant Ant", "is not used: its lines are not"),
        ("ant\ncat", ""),
    ):
        (root / "classes.txt").write_text(lines)
        assert (told in notes(root)) if told else "classes.txt" not in notes(root)


def test_classes_that_look_alike_are_told(make_folder: Make) -> None:
    root = make_folder(per_class=5)
    for name, other in (("ant", "Ant"), ("bee", "bee\u200b")):
        shutil.copytree(root / name, root / other)
    assert r"Classes that look alike: 'Ant' and 'ant', 'bee' and 'bee\u200b'" in notes(root)


def test_folders_beside_the_splits_are_told(make_folder: Make) -> None:
    root = make_folder(split="train")
    make_folder(split="val", start=500)
    make_folder(split="extra", start=900)
    assert "Folders of images beside the splits are not read: extra." in notes(root)


def test_hidden_folders_and_those_of_systems_are_passed_over(make_folder: Make, capsys) -> None:
    root = make_folder(per_class=6)
    for folder in (".ipynb_checkpoints", ".thumbnails", ".Trash-1000/files", "@eaDir", "__MACOSX", "thumbnails"):
        (root / "ant" / folder).mkdir(parents=True)
        (root / "ant" / folder / "0.jpg").write_bytes(jpeg(len(folder)))
    (root / "ant" / "._000.jpg").write_bytes(b"a fork")
    assert len(open_dataset(root, "all")) == 18
    told = notes(root)
    assert "Not read: 7 images in hidden folders, or in those of systems (.Trash-1000, .ipynb_checkpoints," in told
    assert main(["predict", str(root), "--json", "--top-k", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 18


def test_what_lies_beside_class_folders_is_counted(make_folder: Make, capsys) -> None:
    root = make_folder(per_class=6)
    for place in ("Thumbnails/0.jpg", ".cache/1.jpg", "loose.jpg", "other.png"):
        (root / place).parent.mkdir(exist_ok=True)
        (root / place).write_bytes(jpeg(len(place)))
    (root / "ant" / "raw.dng").write_bytes(b"x")
    assert len(open_dataset(root, "all")) == 18
    told = notes(root)
    assert "Not read: 2 images in hidden folders, or in those of systems (.cache, Thumbnails)." in told
    assert f"Not read: 2 images beside the class folders of {root}, first loose.jpg." in told
    assert main(["predict", str(root), "--json", "--top-k", "1"]) == 0
    assert "Not read: 1 file beside the images, by their suffix (.dng 1)." in capsys.readouterr().err


def test_files_of_other_formats_are_counted(make_folder: Make) -> None:
    root = make_folder(per_class=6)
    for number in range(4):
        (root / "ant" / f"p{number}.HEIC").write_bytes(b"x")
        (root / "bee" / f"q{number}").write_bytes(b"x")
    (root / "bee" / "about.txt").touch()
    assert "Not read: 8 files beside the images, by their suffix (.HEIC 4, no suffix 4)." in notes(root)


def test_linked_folders_are_read_once(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder(per_class=6)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.jpg").write_bytes(jpeg(77))
    (root / "ant" / "linked").symlink_to(elsewhere, target_is_directory=True)
    (root / "ant" / "again").symlink_to(elsewhere, target_is_directory=True)
    (elsewhere / "loop").symlink_to(root / "ant", target_is_directory=True)
    (root / "ant" / "up").symlink_to(root, target_is_directory=True)
    assert len(open_dataset(root, "all")) == 19


def test_the_outputs_of_commands_are_not_data(make_folder: Make, capsys) -> None:
    root = make_folder(per_class=6)
    assert main(["predict", str(root / "ant"), "--draw", str(root / "ant"), "--json"]) == 0
    assert main(["predict", str(root / "ant"), "--draw", str(root / "ant" / "drawn"), "--json"]) == 0
    assert len(open_dataset(root, "all")) == 18


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_of_classes_are_read_in_the_encodings_of_editors(
    make_folder: Make, make_shard: Make, encoding: str
) -> None:
    root = make_folder()
    text = "ant\tAmeise\r\nbee\tBiene\r\ncat\tKatze\r\n"
    (root / "classes.txt").write_bytes(text.encode(encoding))
    assert open_dataset(root).classes == ("Ameise", "Biene", "Katze")
    make_shard("shards/a.tar", {f"{i}.{kind}": data for i in range(9) for kind, data in sample(i, "ant bee cat")})
    (root.parent / "shards" / "classes.txt").write_bytes(text.encode(encoding))
    assert open_dataset(root.parent / "shards").classes == ("Ameise", "Biene", "Katze")


def test_a_list_of_another_encoding_is_a_sentence(make_folder: Make) -> None:
    root = make_folder()
    (root / "classes.txt").write_bytes("ant\tÄmeise".encode("latin-1"))
    with pytest.raises(DataError, match=r"classes\.txt is not a text in UTF-8: save it in that encoding"):
        open_dataset(root)


def test_names_are_compared_however_they_are_spelled(make_folder: Make) -> None:
    root = make_folder(split="train")
    make_folder(split="val", start=500)
    for split, form in (("train", "NFC"), ("val", "NFD")):
        (root / split / "cat").rename(root / split / unicodedata.normalize(form, "café"))
    assert open_dataset(root, "train").classes == open_dataset(root, "val").classes == ("ant", "bee", "café")
    assert len(open_dataset(root, "val")) == 21
    (root / "train" / "ant").rename(root / "train" / unicodedata.normalize("NFD", "café"))
    with pytest.raises(DataError, match="two class folders named 'café', in two spellings that look the same"):
        open_dataset(root)


def test_images_of_12_bits_are_told(make_folder: Make) -> None:
    root = make_folder()
    for number, most in ((0, 4000), (1, 65000)):
        values = np.random.default_rng(number).integers(0, most, (40, 40), dtype=np.uint16)
        Image.fromarray(values).save(root / "ant" / f"deep{number}.png")
    assert "1 image of 16 bits with values below 4,096 alone, read as nearly black" in notes(root)


def test_what_a_centre_crop_hides_is_told(make_folder: Make) -> None:
    root = make_folder()
    for number in range(9):
        Image.effect_noise((400, 100), 50 + number).convert("RGB").save(root / "ant" / f"wide{number}.png")
    assert "The centre crop never shows" in (told := notes(root))
    assert "of 9 of 30: where objects are not in the middle" in told


# ----------------------------------------------------------------------------------------------------------- shards


def sample(number: int, names: str) -> list[tuple[str, bytes]]:
    words = names.split()
    return [("jpg", jpeg(number)), ("cls", words[number % len(words)].encode())]


def rows(count: int, names: str = "0 1", first: int = 0) -> dict[str, bytes]:
    return {f"{i}.{kind}": data for i in range(first, first + count) for kind, data in sample(i, names)}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("d/train-000.tar", "d/test-000.tar"), ("d/Train/0.tar", "d/Test/0.tar"),
        ("d/cifar_train_0.tar", "d/cifar_dev_0.tar"), ("d/x-train/a.tar", "d/x-val/a.tar"),
        ("d/trn/a.TAR", "d/tst/a.tar"),
    ],
)  # fmt: skip
def test_shards_are_of_the_splits_that_their_names_tell(make_shard: Make, train: str, test: str) -> None:
    root = make_shard(train, rows(12)).parents[train.count("/") - 1]
    make_shard(test, rows(6, first=500))
    learned = {name.split(":")[0] for name in open_dataset(root, "train").names}
    assert learned == {str(root.parent / train)}
    assert len(open_dataset(root, "all")) == 18


def test_the_name_of_a_shard_counts_before_that_of_its_folder(make_shard: Make) -> None:
    root = make_shard("my-train-shards/train-0.tar", rows(10)).parent
    make_shard("my-train-shards/val-0.tar", rows(4, first=500))
    assert (len(open_dataset(root, "train")), len(open_dataset(root, "val"))) == (10, 4)
    make_shard("my-train-shards/more.tar", rows(4, first=900))
    with pytest.raises(DataError, match=r"more\.tar tells no split, as others do"):
        open_dataset(root)


def test_the_image_of_a_sample_is_the_plain_one(make_shard: Make) -> None:
    members = {}
    for i in range(8):
        members |= {f"{i}.cls": b"01"[i % 2 : i % 2 + 1], f"{i}.depth.png": jpeg(900 + i), f"{i}.jpg": jpeg(i)}
    path = make_shard("d/a.tar", members)
    assert {name.split(":")[1] for name in open_dataset(path, "all").names} == {f"{i}.jpg" for i in range(8)}
    with pytest.raises(DataError, match=r"has 2 images \(\.jpg, \.png\), and which one is meant is not known"):
        open_dataset(make_shard("e/a.tar", {"0.jpg": jpeg(0), "0.png": jpeg(1), "0.cls": b"1"}), "all")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"0.mask.png": jpeg(0), "0.cls": b"1"}, "has no image"),
        (
            {"0.jpg": jpeg(0), "0.cls": b"ant", "0.json": b'{"label": "bee"}'},
            "the label 'ant' in .cls and 'bee' in .json",
        ),
        ({"0.jpg": jpeg(0), "0.cls": "caf\u00e9".encode("latin-1")}, "0.cls is not a text in UTF-8"),
    ],
)
def test_samples_that_are_not_plain_are_a_sentence(make_shard: Make, members: dict[str, bytes], said: str) -> None:
    with pytest.raises(DataError, match=said):
        open_dataset(make_shard("d/a.tar", members), "all")


def test_labels_are_compared_in_one_spelling_and_encoding(make_shard: Make) -> None:
    spelled = [unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD")]
    texts = [spelled[0].encode(), spelled[1].encode("utf-8-sig"), spelled[0].encode("utf-16")]
    members: dict[str, bytes] = {}
    for i, text in enumerate(texts):
        members |= {f"{i}.jpg": jpeg(i), f"{i}.cls": text}
    for i, text in enumerate(spelled, start=3):
        members |= {f"{i}.jpg": jpeg(i), f"{i}.json": json.dumps({"label": text}).encode()}
    assert open_dataset(make_shard("d/a.tar", members | {"9.jpg": jpeg(9), "9.cls": b"ant"}), "all").classes == (
        "ant",
        spelled[0],
    )
    members = {
        f"{i}.{kind}": data
        for i, name in enumerate(("01", "1", "1"))
        for kind, data in (("jpg", jpeg(i)), ("cls", name.encode()))
    }
    assert open_dataset(make_shard("e/a.tar", members), "all").classes == ("01", "1")


def test_a_key_that_comes_twice_is_a_sentence(make_shard: Make) -> None:
    members = {**rows(2), "b/0.jpg": jpeg(5), "b/0.cls": b"1"}
    assert len(open_dataset(make_shard("d/a.tar", members), "all")) == 3
    twice = {"0.jpg": jpeg(0), "0.cls": b"1", "1.jpg": jpeg(1), "1.cls": b"0", "0.JPG": jpeg(2), "0.CLS": b"0"}
    with pytest.raises(DataError, match="two samples named '0': rename one"):
        open_dataset(make_shard("e/a.tar", twice), "all")
    with pytest.raises(DataError, match=r"two members named '0\.JPG': rename one"):
        open_dataset(make_shard("f/a.tar", {"0.jpg": jpeg(0), "0.JPG": jpeg(1), "0.cls": b"1"}), "all")


def test_digits_are_names_where_names_are_digits(make_shard: Make) -> None:
    path = make_shard("d/a.tar", rows(18, "1 2 3 4 5 6 7 8 9"))
    (path.parent / "classes.txt").write_text("\n".join(map(str, range(1, 11))))
    data = open_dataset(path, "all")
    assert [data.classes[label] for label in data.labels[:9]] == [str(number) for number in range(1, 10)]
    (path.parent / "classes.txt").write_text("\n".join(map(str, range(10))))
    assert open_dataset(path, "all").labels[0] == 1
    members = {f"{i}.{kind}": data for i in range(6) for kind, data in (("jpg", jpeg(i)), ("json", b'{"label": 1}'))}
    path = make_shard("e/a.tar", members)
    (path.parent / "classes.txt").write_text("1\n2\n3")
    with pytest.raises(DataError, match="such as 1 may be names of classes or places in their list"):
        open_dataset(path, "all")


# ------------------------------------------------------------------------------------------------------- evaluation


def test_it_is_said_what_is_scored(make_folder: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_folder(split="train", per_class=8)
    make_folder(split="val", per_class=2, start=500)
    make_folder(split="test", per_class=5, start=700)
    quick = ["data.size=64", "data.batch=8", "schedule.epochs=1", "transforms.size=32", "data.decode_side=none"]
    overrides = [word for each in quick[1:] for word in ("--set", each)]
    run = tmp_path / "run"
    assert main(["train", "--data", str(root), "--out", str(run), *overrides]) == 0
    told = capsys.readouterr().err
    assert f"Training on 24 images: {root}, split 'train' as its folders have it." in told
    assert f"Scoring 6 images: {root}, split 'val' as its folders have it." in told
    assert "The warm-up is 0.25 epochs" in told
    for data, more, scored in (
        (root, [], f"Scored: 6 images of {root}, split 'val'"), (root, ["--split", "test"], "Scored: 15 images of"),
        (root / "test", [], f"Scored: 15 images of {root / 'test'}."),
        (root, ["--split", "all"], "Scored: 45 images of"),
    ):  # fmt: skip
        assert main(["evaluate", str(run / "best"), "--data", str(data), *more]) == 0
        assert scored in capsys.readouterr().out


def test_the_images_that_a_run_held_out_are_those_that_are_scored(
    make_folder: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run = make_folder(per_class=10), tmp_path / "run"
    quick = ["data.batch=8", "schedule.epochs=1", "transforms.size=32", "data.decode_side=none"]
    overrides = [word for each in quick for word in ("--set", each)]
    assert main(["train", "--data", str(root), "--out", str(run), *overrides]) == 0
    moved = root.rename(tmp_path / "moved")
    other = make_folder("other", per_class=4, start=5000)
    capsys.readouterr()
    for data, scored in ((moved, "Scored: 6 images of"), (other, "Scored: 12 images of")):
        assert main(["evaluate", str(run), "--data", str(data)]) == 0
        assert scored in capsys.readouterr().out


def test_a_mark_alone_is_not_a_text(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes(codecs.BOM_UTF16_LE + b"\x00")
    with pytest.raises(DataError, match="not a text"):
        read_text(tmp_path / "classes.txt")
