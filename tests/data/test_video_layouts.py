"""Videos in folders, in Kinetics' lists, in lists of paths and in shards: the same clips with the same labels."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from sparsevision.errors import DataError
from sparsevision.tasks.registry import other_tasks_note, task_of_data
from sparsevision.tasks.video_classification.task import VideoClassificationTask as Videos
from sparsevision.types import Preprocessing
from video_folder import draw_video_folder, numbered, write_video

pytest.importorskip("av")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_video_folder(tmp_path_factory.mktemp("videos"), train=2, val=1)


def _kinetics(root: Path, *, missing: bool = False) -> Path:
    """K400 as it is downloaded: lists in `annotations`, videos by id and seconds, a repaired copy beside one."""
    for name in ("train/aaa_000001_000011", "train/bbb_000010_000020", "val/ccc_000000_000010"):
        write_video(root / f"{name}.mp4", numbered(3))
    write_video(root / "replacement" / "bbb_000010_000020.mp4", numbered(5))
    heading = "label,youtube_id,time_start,time_end,split,is_cc\n"
    lines = ["abseiling,aaa,1,11,train,0", '"air drumming",bbb,10,20,train,0']
    lines += ["abseiling,gone,3,13,train,0"] if missing else []
    (root / "annotations").mkdir()
    (root / "annotations" / "train.csv").write_text(heading + "\n".join(lines))
    (root / "annotations" / "val.csv").write_text(f"{heading}air drumming,ccc,0,10,validate,0\n")
    return root


def test_kinetics_lists_name_the_videos_by_id_and_seconds(tmp_path: Path) -> None:
    spec = str(_kinetics(tmp_path, missing=True))
    assert task_of_data(spec) == "video_classification"
    train, val = (Videos.open(spec, split) for split in ("train", "val"))
    assert train.classes == val.classes == ("abseiling", "air drumming")
    assert (train.names, train.labels) == (["train/aaa_000001_000011.mp4", "replacement/bbb_000010_000020.mp4"], [0, 1])
    assert (val.names, val.labels) == (["val/ccc_000000_000010.mp4"], [1])
    assert any(
        note.startswith("1 of 3 listed videos are not under") and "gone_000003_000013" in note for note in train.notes
    )
    assert train.read(1).image.info.frames == 5


@pytest.mark.parametrize("form", ["{path} {label}", '"{path}", "{label}"', "{path}\t{label}"])
@pytest.mark.parametrize("numbers", [True, False])
def test_lists_of_paths_and_labels(videos: Path, tmp_path: Path, form: str, numbers: bool) -> None:
    home = tmp_path / "data"
    home.mkdir()
    for split in ("train", "val"):
        rows = [(path, path.parent.name) for path in sorted((videos / split).rglob("*.mp4"))]
        lines = (form.format(path=path, label=int(name == "right") if numbers else name) for path, name in rows)
        (home / f"{split}.csv").write_text("\n".join(lines))
    (home / "classes.txt").write_text("left\nright\n")
    listed, folders = (Videos.open(str(spec), "train") for spec in (home, videos))
    assert (listed.classes, listed.labels) == (folders.classes, folders.labels)
    assert [Path(home / name).resolve() for name in listed.names] == [videos / name for name in folders.names]


@pytest.mark.parametrize(("lines", "said"), [
    ("label,youtube_id,time_start,time_end\na,b,soon,later", "line 2: the times of a video are numbers"),
    ("youtube_id,time_start,time_end\nb,1,11", "has no column 'label'"),
    ("label,youtube_id,time_start,time_end\n", "lists no videos"),
    ("a.mp4 left\nnothing", "line 2: 'nothing' is not a path and a label"),
    ("a.mp4,left\nb.mp4,right,0", "line 2: 'b.mp4,right,0' is not a path and a label"),
    ("a.mp4 20240101\n", "A label of the lists is 20240101"),
    ('label,youtube_id,time_start,time_end\na,"b' + 200_000 * "x", "cannot be read as CSV"),
    ("a.mp4 left\nb.mp4 right", "None of the 2 videos"),
])  # fmt: skip
def test_a_list_that_cannot_be_used_is_named(tmp_path: Path, lines: str, said: str) -> None:
    (tmp_path / "train.csv").write_text(lines)
    with pytest.raises(DataError, match=said):
        Videos.open(str(tmp_path), "train")


def test_a_class_that_train_has_not_is_named(tmp_path: Path) -> None:
    root = _kinetics(tmp_path)
    path = root / "annotations" / "val.csv"
    path.write_text(path.read_text().replace("air drumming", "juggling"))
    with pytest.raises(DataError, match=r"val\.csv, line 2 has the label 'juggling', which the list of classes"):
        Videos.open(str(root), "val")


def test_shards_of_videos(videos: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        with tarfile.open(tmp_path / f"clips-{split}-0.tar", "w") as shard:
            for number, path in enumerate(sorted((videos / split).rglob("*.mp4"))):
                for suffix, data in (("mp4", path.read_bytes()), ("cls", path.parent.name.encode())):
                    member = tarfile.TarInfo(f"{number:04d}.{suffix}")
                    member.size = len(data)
                    shard.addfile(member, io.BytesIO(data))
    spec = str(tmp_path)
    assert task_of_data(spec) == "video_classification"
    assert other_tasks_note(spec, option="--model") is None
    shards, folders = (Videos.open(each, "train") for each in (spec, str(videos)))
    assert (shards.classes, list(shards.labels)) == (folders.classes, list(folders.labels))
    for index in range(len(folders)):
        assert (shards.read(index).image.read([0.5]) == folders.read(index).image.read([0.5])).all()


def test_lists_may_have_a_heading_and_names_with_commas(videos: Path, tmp_path: Path) -> None:
    path = next((videos / "train" / "left").iterdir())
    (tmp_path / "train.csv").write_text(f'path,label\n{path},"Hello, world"\n')
    assert Videos.open(str(tmp_path), "train").classes == ("Hello, world",)


def test_two_lists_of_one_split_are_named_and_not_passed_over(videos: Path, tmp_path: Path) -> None:
    for name in ("train.csv", "train_2.csv"):
        (tmp_path / name).write_text("a.mp4 left\n")
    assert task_of_data(str(tmp_path)) == "video_classification"
    with pytest.raises(DataError, match="both list videos of the split 'train'"):
        Videos.open(str(tmp_path), "train")


def test_folders_of_images_are_not_those_of_videos(tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "left" / "0.png")
    with pytest.raises(DataError, match="left has no videos but images: name a --model for images"):
        Videos.open(str(tmp_path), "train")


def test_what_a_centre_crop_of_videos_hides_is_told(tmp_path: Path) -> None:
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        write_video(tmp_path / name / "0.mp4", numbered(3, (48, 128)))
    notes = " ".join(Videos.inspect(str(tmp_path)).notes)
    assert "of the median video, and more than 40% of 2 of 2: where something" in notes
    sets = (Videos.open(str(tmp_path), "all"),) * 2
    view = Preprocessing(size=(32, 32), frames=4)
    told = [Videos(("left", "right")).remarks(*sets, shown, None) for shown in (view, replace(view, crops=3))]
    assert "train with --set transforms.evaluation.crops=3" in told[0][0]
    assert not told[1]


def test_a_still_beside_each_video_does_not_make_it_a_data_set_of_images(tmp_path: Path) -> None:
    draw_video_folder(tmp_path, train=2, val=1)
    for path in tmp_path.rglob("*.mp4"):
        path.with_suffix(".jpg").write_bytes(b"still")
    assert task_of_data(str(tmp_path)) == "video_classification"
    (note,) = Videos.open(str(tmp_path), "train").notes
    assert ".jpg 4" in note
