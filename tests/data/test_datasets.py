"""Folders, shards, digits and placed digits: what is in them, how they are split, what is said when they are wrong."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsevision.data.caching import CachedDataset
from sparsevision.data.dataset import Dataset, Record
from sparsevision.data.layouts.digit_scenes import DigitScenes
from sparsevision.data.layouts.digits import Digits
from sparsevision.data.layouts.placed_digits import PlacedDigits
from sparsevision.data.loading import make_loader
from sparsevision.data.preprocessing import EvaluationTransform
from sparsevision.data.subset import Subset, divided, labelled_as
from sparsevision.errors import DataError, UnreadableImageError
from sparsevision.tasks import open_dataset
from sparsevision.tasks.classification.task import ClassificationTask
from sparsevision.tasks.detection.task import DetectionTask
from sparsevision.types import Preprocessing

Make = Callable[..., Path]


def pixels(record: Record) -> bytes:
    return record.image.tobytes()


def contents(dataset: Dataset) -> set[bytes]:
    return {dataset.content(index) for index in range(len(dataset))}


# ---------------------------------------------------------------------------------------------------------- folders


def test_a_divided_folder_is_taken_as_it_is(make_folder: Make) -> None:
    root = make_folder(split="train", per_class=5)
    make_folder(split="val", per_class=2, start=500)
    train, val, every = (open_dataset(root, split) for split in ("train", "val", "all"))
    assert train.classes == val.classes == ("ant", "bee", "cat")
    assert (len(train), len(val), len(every)) == (15, 6, 21)
    assert list(val.labels) == [0, 0, 1, 1, 2, 2]
    record = val.read(3)
    assert (record.target, record.image.mode, record.original_size) == (1, "RGB", (32, 40))
    assert record.name.endswith("val/bee/001.jpg")


def test_an_undivided_folder_is_split_within_every_class(make_folder: Make) -> None:
    root = make_folder(per_class=10)
    train, val = open_dataset(root, "train"), open_dataset(root, "val")
    assert np.bincount(train.labels).tolist() == [8, 8, 8]
    assert np.bincount(val.labels).tolist() == [2, 2, 2]
    assert not contents(train) & contents(val)
    assert "stratified split by file hash" in train.origin
    assert "seed 0" in train.origin


def test_the_split_depends_on_contents_and_seed_only(make_folder: Make) -> None:
    root = make_folder(per_class=10)
    before = contents(open_dataset(root, "val"))
    assert contents(open_dataset(root, "val", seed=1)) != before
    moved = root.with_name("moved")
    shutil.copytree(root, moved)
    for path in sorted(moved.rglob("*.jpg")):
        path.rename(path.with_name("z" + path.name[::-1].replace("gpj.", "") + ".jpg"))
    assert contents(open_dataset(moved, "val")) == before


def test_copies_of_a_image_stay_on_one_side(make_folder: Make) -> None:
    root = make_folder(per_class=10)
    for path in sorted(root.rglob("*.jpg")):
        shutil.copy(path, path.with_name("copy_" + path.name))
    assert not contents(open_dataset(root, "train")) & contents(open_dataset(root, "val"))


def test_small_classes_have_a_image_on_each_side(make_folder: Make) -> None:
    assert np.bincount(open_dataset(make_folder(per_class=2), "val").labels).tolist() == [1, 1, 1]


def test_the_fingerprint_follows_the_images(make_folder: Make) -> None:
    root = make_folder(split="train")
    make_folder(split="val")
    before = open_dataset(root).fingerprint
    assert open_dataset(root).fingerprint == before
    (root / "train" / "bee" / "000.jpg").rename(root / "train" / "cat" / "from_bee.jpg")
    assert open_dataset(root).fingerprint != before


def test_a_class_may_be_called_train_and_hold_folders(make_folder: Make) -> None:
    root = make_folder()
    (root / "ant").rename(root / "train")
    deep = root / "bee" / "by_night"
    deep.mkdir()
    shutil.copy(root / "bee" / "000.jpg", deep / "extra.png")
    (root / "bee" / ".hidden.jpg").write_bytes(b"")
    (root / "bee" / "notes.txt").write_text("no image")
    dataset = open_dataset(root, "all")
    assert dataset.classes == ("bee", "cat", "train")
    assert np.bincount(dataset.labels).tolist() == [8, 7, 7]


def test_classes_txt_names_the_folders(make_folder: Make) -> None:
    root = make_folder()
    (root / "classes.txt").write_text("ant\tAmeise\nbee\tsame\ncat\tsame\n")
    assert open_dataset(root).classes == ("Ameise", "same (bee)", "same (cat)")


def test_a_broken_image_raises_when_read_not_before(make_folder: Make) -> None:
    root = make_folder()
    (root / "ant" / "000.jpg").write_bytes(b"")
    dataset = open_dataset(root, "all")
    with pytest.raises(UnreadableImageError, match=r"ant/000\.jpg cannot be read as an image: it is empty"):
        dataset.read(0)


def test_the_cache_changes_nothing_and_stops_at_its_limit(make_folder: Make) -> None:
    root = make_folder()
    (root / "ant" / "003.jpg").write_bytes(b"")
    plain = open_dataset(root, "all")
    cached = open_dataset(root, "all", cache=1)
    assert isinstance(cached, CachedDataset)
    cached.fill()
    assert cached.used == 20 * 40 * 32 * 3
    shutil.rmtree(root / "bee")
    assert (cached.classes, cached.fingerprint) == (plain.classes, plain.fingerprint)
    again = cached.read(8)
    assert (again.target, again.original_size, again.image.size) == (1, (32, 40), (40, 32))
    with pytest.raises(UnreadableImageError):
        cached.read(3)
    small = CachedDataset(plain, 0)
    small.fill()
    assert small.used == 0
    assert pixels(small.read(0)) == pixels(cached.read(0)) == pixels(plain.read(0))


def test_a_cache_offers_all_that_its_data_set_has(make_folder: Make) -> None:
    scenes = DigitScenes(open_dataset(make_folder(), "train"), Digits("train"), length=4, size=96, digit_side=(12, 20))
    kept = CachedDataset(scenes, 1)
    assert (kept.category_ids, kept.layout, kept.photographs) == (
        scenes.category_ids,
        scenes.layout,
        scenes.photographs,
    )
    assert np.array_equal(kept.objects(1).boxes, scenes.objects(1).boxes)
    assert (len(kept), kept.names, kept.labels, kept.origin) == (
        len(scenes),
        scenes.names,
        scenes.labels,
        scenes.origin,
    )
    assert kept.content(2) == scenes.content(2)
    first = kept.read(3)
    assert np.array_equal(first.target.boxes, kept.read(3).target.boxes)
    assert pixels(first) == pixels(kept.read(3)) == pixels(scenes.read(3))
    assert kept.used == 3 * 96 * 96
    again = pickle.loads(pickle.dumps(kept))
    assert (again.used, again.layout, pixels(again.read(3))) == (0, "digit scenes", pixels(first))
    with pytest.raises(AttributeError, match="nonsense"):
        kept.nonsense  # noqa: B018


# ------------------------------------------------------------------------------------------------------------ parts


def test_a_part_is_the_data_set_with_other_numbers(make_folder: Make) -> None:
    whole = open_dataset(make_folder(), "all")
    part = Subset(whole, [20, 3, 8])
    assert (len(part), part.classes, part.origin) == (3, whole.classes, whole.origin)
    assert (part.names, part.labels) == ([whole.names[i] for i in (20, 3, 8)], [2, 0, 1])
    assert pixels(part.read(1)) == pixels(whole.read(3))
    assert part.content(2) == whole.content(8)
    assert len({whole.fingerprint, part.fingerprint, Subset(whole, [3, 20, 8]).fingerprint}) == 3
    again = pickle.loads(pickle.dumps(part))
    assert (again.fingerprint, pixels(again.read(0))) == (part.fingerprint, pixels(part.read(0)))


def test_labels_are_counted_by_a_models_classes(make_folder: Make) -> None:
    whole, names = open_dataset(make_folder(), "all"), ("cat", "dog", "ant", "bee")
    part = labelled_as(whole, names, ClassificationTask.relabel)
    assert part.classes == names
    assert [names[label] for label in part.labels] == [whole.classes[label] for label in whole.labels]
    assert [part.read(index).target for index in (0, 8, 20)] == [2, 3, 0]
    assert labelled_as(whole, whole.classes, ClassificationTask.relabel) is whole


def test_objects_are_counted_by_a_models_classes(make_folder: Make) -> None:
    scenes = DigitScenes(open_dataset(make_folder(), "train"), Digits("train"), length=4, size=96, digit_side=(12, 20))
    names = tuple(reversed(scenes.classes))
    part = labelled_as(CachedDataset(scenes, 1), names, DetectionTask.relabel)
    for index in range(4):
        own, theirs = part.read(index).target, scenes.read(index).target
        assert [names[label] for label in own.labels] == [scenes.classes[label] for label in theirs.labels]
        assert np.array_equal(own.boxes, theirs.boxes)
        assert names[part.labels[index]] == scenes.classes[scenes.labels[index]]


def test_an_image_without_objects_keeps_its_label_of_none() -> None:
    class Bare(Digits):
        labels = (-1, 1)
        names = ("a", "b")

        def __init__(self) -> None:
            self.classes, self.origin, self.fingerprint = ("x", "y"), "made up", "made up"

    assert labelled_as(Bare(), ("y", "x"), DetectionTask.relabel).labels == [-1, 0]


def test_a_held_out_share_and_the_rest_are_the_whole(make_folder: Make) -> None:
    whole = open_dataset(make_folder(per_class=10), "all", cache=1)
    rest, held = divided(whole, 0.2, 5)
    assert np.bincount(held.labels).tolist() == [2, 2, 2]
    assert sorted([*rest.names, *held.names]) == sorted(whole.names)
    assert held.names == divided(whole, 0.2, 5)[1].names != divided(whole, 0.2, 6)[1].names
    assert "20%" in held.origin
    assert held.origin != rest.origin
    make_loader(
        rest, EvaluationTransform(Preprocessing(size=(16, 16))), list, batch_size=4, num_workers=1, start_method="fork"
    )
    assert whole.used > 0  # a cache below a part is filled, too


# ----------------------------------------------------------------------------------------------------------- shards


def members_of(root: Path, *, as_json: bool = False, by_name: bool = False) -> dict[str, bytes]:
    """Every image of a folder with its label, as the members of a shard."""
    members: dict[str, bytes] = {}
    for label, folder in enumerate(sorted(path for path in root.iterdir() if path.is_dir())):
        for path in sorted(folder.glob("*.jpg")):
            key = f"{folder.name}_{path.stem}"
            value = folder.name if by_name else label
            members[f"{key}.jpg"] = path.read_bytes()
            members[f"{key}.json" if as_json else f"{key}.cls"] = (
                json.dumps({"label": value}).encode() if as_json else str(value).encode()
            )
    return members


@pytest.mark.parametrize("kind", [{}, {"as_json": True}, {"by_name": True}, {"as_json": True, "by_name": True}])
def test_shards_equal_the_folder_they_were_made_of(make_folder: Make, make_shard: Make, kind: dict[str, bool]) -> None:
    root = make_folder(per_class=10)
    (root.parent / "shards").mkdir()
    (root.parent / "shards" / "classes.txt").write_text("ant\nbee\ncat\n")
    members = list(members_of(root, **kind).items())
    for number in range(3):
        make_shard(f"shards/images-{number:03}.tar", dict(members[number * 20 : number * 20 + 20]))
    for spec in ("shards/images-{000..002}.tar", "shards/*.tar", "shards"):
        for split in ("train", "val", "all"):
            shards, folder = open_dataset(root.parent / spec, split), open_dataset(root, split)
            assert shards.classes == folder.classes
            assert list(shards.labels) == list(folder.labels)
            both = [(pixels(shards.read(i)), pixels(folder.read(i))) for i in range(0, len(folder), 5)]
            assert all(one == other for one, other in both)


def test_shards_named_after_splits_are_the_splits(make_folder: Make, make_shard: Make) -> None:
    make_shard("s/train-0.tar", members_of(make_folder("a", per_class=4), by_name=True))
    make_shard("s/val-0.tar", members_of(make_folder("b", per_class=2, start=50), by_name=True))
    root = make_folder("a").parent / "s"
    assert (len(open_dataset(root, "train")), len(open_dataset(root, "val"))) == (12, 6)
    assert open_dataset(f"{root}/{{train,val}}-0.tar", "val").classes == ("ant", "bee", "cat")
    assert open_dataset(root / "train-0.tar", "train").origin.endswith("seed 0)")


def test_a_tar_file_beside_class_folders_does_not_make_shards(make_folder: Make, make_shard: Make) -> None:
    root = make_folder()
    make_shard("images/original.tar", {"a.jpg": b""})
    assert len(open_dataset(root, "all")) == 21


def test_a_folder_may_be_called_like_a_pattern(make_folder: Make) -> None:
    odd = make_folder("photos [2024] {x}*")
    assert open_dataset(odd, "all").labels == open_dataset(make_folder("photos"), "all").labels


def test_numbered_labels_without_names_get_numbers_for_names(make_folder: Make, make_shard: Make) -> None:
    shard = make_shard("some.tar", members_of(make_folder()))
    assert open_dataset(shard).classes == ("0", "1", "2")


# ------------------------------------------------------------------------------------------------------- bad inputs

BAD_SPECS = {
    "missing folder": "nowhere",
    "empty folder": "empty",
    "loose images without class folders": "loose",
    "class folder without images": "hollow",
    "file instead of folder": "file.jpg",
    "only files that are not images": "texts",
    "class in val that train lacks": "stranger",
    "compressed shard": "packed.tar.gz",
    "brace without match": "shard-{0..3}.tar",
    "open brace": "shard-{0..3.tar",
    "glob without match": "*.nothing.tar",
    "truncated shard": "truncated.tar",
    "shard cut between members": "cut.tar",
    "shard that is not a tar": "text.tar",
    "empty shard file": "zero.tar",
    "shard without label": "unlabelled.tar",
    "shard with damaged json": "badjson.tar",
    "shard without image": "blind.tar",
    "label outside classes": "outside/a.tar",
    "negative label": "negative.tar",
    "shards of one split only": "onlyval/val-*.tar",
    "damaged list of classes": "listed/a.tar",
}


@pytest.fixture
def bad_inputs(tmp_path: Path, make_folder: Make, make_shard: Make) -> Path:
    good = make_folder("good")
    image = (good / "ant" / "000.jpg").read_bytes()
    (tmp_path / "empty").mkdir()
    for path, data in [
        ("loose/a.jpg", image),
        ("hollow/ant/a.jpg", image),
        ("texts/ant/a.txt", b"text"),
        ("stranger/train/ant/a.jpg", image),
        ("stranger/val/dog/a.jpg", image),
        ("file.jpg", image),
        ("packed.tar.gz", b"\x1f\x8b"),
        ("text.tar", b"no tar at all " * 99),
        ("zero.tar", b""),
        ("outside/classes.txt", b"one\ntwo\n"),
        ("listed/classes.json", b"{"),
    ]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    (tmp_path / "hollow" / "bee").mkdir()
    make_shard("unlabelled.tar", {"a.jpg": image, "b.jpg": image, "b.cls": b"1"})
    make_shard("badjson.tar", {"a.jpg": image, "a.json": b"{]"})
    make_shard("blind.tar", {"a.cls": b"1", "a.txt": b"a caption"})
    make_shard("outside/a.tar", {"a.jpg": image, "a.cls": b"7"})
    make_shard("negative.tar", {"a.jpg": image, "a.json": b"-1"})
    make_shard("onlyval/val-0.tar", {"a.jpg": image, "a.cls": b"0"})
    make_shard("listed/a.tar", {"a.jpg": image, "a.cls": b"0"})
    whole = make_shard("truncated.tar", members_of(good)).read_bytes()
    (tmp_path / "truncated.tar").write_bytes(whole[: len(whole) // 2 + 100])
    (tmp_path / "cut.tar").write_bytes(whole[:2048])
    return tmp_path


@pytest.mark.parametrize("kind", BAD_SPECS)
def test_a_bad_data_set_is_one_sentence(bad_inputs: Path, kind: str) -> None:
    with pytest.raises(DataError) as caught:
        open_dataset(bad_inputs / BAD_SPECS[kind])
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith(".")
    assert len(said) < 400
    assert str(bad_inputs) in said or "label" in said


@pytest.mark.parametrize("options", [{"split": "test"}, {"val_fraction": 0.0}, {"val_fraction": 1.5}])
def test_bad_options_are_one_sentence(make_folder: Make, options: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"\.$"):
        open_dataset(make_folder(), **options)


# -------------------------------------------------------------------------------------------------- digits and scenes


def test_digits_are_split_within_every_class() -> None:
    train, val = Digits("train"), Digits("val")
    assert len(open_dataset("digits", "val")) == len(val)
    assert len(train) + len(val) == 1797
    assert not contents(train) & contents(val)
    assert min(np.bincount(val.labels)) >= 34
    record = train.read(0)
    assert (record.image.mode, record.image.size) == ("RGB", (8, 8))
    assert train.pixels.max() == 255


@pytest.fixture
def scenes(make_folder: Make) -> PlacedDigits:
    return PlacedDigits(open_dataset(make_folder(), "train"), Digits("train"), length=40, size=96, digit_side=(12, 24))


def test_a_scene_has_its_digit_where_its_box_says(scenes: PlacedDigits) -> None:
    for index in range(12):
        record = scenes.read(index)
        assert record.image.size == (96, 96)
        x0, y0, x1, y1 = (round(96 * value) for value in scenes.box(index))
        assert 12 <= x1 - x0 == y1 - y0 <= 24
        assert 0 <= x0 < x1 <= 96
        bare = scenes.photographs.read(int(scenes._photograph[index]))
        assert bare.image.mode == "RGB"
        inside = np.asarray(record.image.crop((x0, y0, x1, y1)), dtype=float).mean(-1)
        assert inside.max() - inside.min() > 60
        assert record.target == scenes.labels[index]


def test_only_the_box_differs_from_the_photograph(scenes: PlacedDigits, monkeypatch: pytest.MonkeyPatch) -> None:
    record = scenes.read(5)
    scenes.digits.pixels = np.zeros_like(scenes.digits.pixels)
    bare = scenes.read(5)
    changed = np.argwhere((np.asarray(record.image) != np.asarray(bare.image)).any(-1))
    x0, y0, x1, y1 = (round(96 * value) for value in scenes.box(5))
    assert len(changed) > 20
    assert changed[:, 0].min() >= y0
    assert changed[:, 0].max() < y1
    assert changed[:, 1].min() >= x0
    assert changed[:, 1].max() < x1


def test_scenes_depend_on_seed_and_index_only(scenes: PlacedDigits) -> None:
    def again(**options: int) -> PlacedDigits:
        return PlacedDigits(scenes.photographs, scenes.digits, **{"size": 96, "digit_side": (12, 24), **options})

    longer, other = again(length=100), again(length=40, seed=1)
    np.random.seed(3)
    assert pixels(longer.read(17)) == pixels(scenes.read(17))
    assert pixels(other.read(17)) != pixels(scenes.read(17))


def test_digits_shrink_over_a_lesson(scenes: PlacedDigits) -> None:
    lesson = PlacedDigits(scenes.photographs, scenes.digits, length=100, size=96, digit_side=(12, 24), shrinking=0.5)
    boxes = [lesson.box(index) for index in range(100)]
    sides = [round(96 * (box[2] - box[0])) for box in boxes]
    assert sides[0] == 96
    assert all(34 <= side <= 48 for side in sides[24:27])  # half of the way, in factors
    assert all(12 <= side <= 24 for side in sides[50:])


def test_scenes_of_both_splits_share_neither_digits_nor_photographs(make_folder: Make) -> None:
    root = make_folder()
    train, val = (open_dataset(f"placed-digits:{root}", split) for split in ("train", "val"))
    assert isinstance(train, PlacedDigits)
    assert isinstance(val, PlacedDigits)
    assert (len(train), len(val), train.read(0).image.size) == (33_000, 2000, (224, 224))
    assert not contents(train.photographs) & contents(val.photographs)
    assert not contents(train.digits) & contents(val.digits)
    assert train.box(0) != val.box(0)


def test_a_longer_lesson_of_scenes_can_be_asked_for(make_folder: Make) -> None:
    longer = open_dataset(f"placed-digits@50000:{make_folder()}", "train")
    assert len(longer) == 50_000
    with pytest.raises(DataError, match="does not exist"):
        open_dataset(f"placed-digits@none:{make_folder()}", "train")


def test_a_scene_survives_a_photograph_of_one_pixel(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (1, 1), "red").save(tmp_path / name / "dot.png")
    scenes = PlacedDigits(open_dataset(tmp_path, "all"), Digits("val"), length=3)
    assert scenes.read(1).image.size == (224, 224)
