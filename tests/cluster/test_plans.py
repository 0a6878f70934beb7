"""Plans and shards: every image belongs to one shard, and keeps its name, wherever it lies."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from small_images import jpeg, write_tar
from sparsevision.cli import main
from sparsevision.cluster import Plan, lies_in, make_plan
from sparsevision.cluster.plan import PLAN_FILE
from sparsevision.cluster.running import Workers, _fitting, begin
from sparsevision.cluster.shards import StoredImage, images_of
from sparsevision.cluster.worker import ShardWorker, _named
from sparsevision.errors import ConfigError, DataError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with images, an archive, and Parquet files of both kinds of columns; and what is none of these."""
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    for number in range(5):
        (folder / "deep" / f"{number}.jpg").write_bytes(jpeg(number))
    (folder / ".hidden.jpg").write_bytes(jpeg(0))
    (folder / "notes.txt").write_text("none")
    write_tar(folder / "some.tar", {"a/0.jpg": jpeg(5), "a/0.json": b"{}", "a/1.jpg": jpeg(6)})
    pq.write_table(pa.table({"id": [1, 2, 3], "jpg": [jpeg(7), jpeg(8), None]}), folder / "b.parquet", row_group_size=2)
    rows = [{"bytes": jpeg(9), "path": "nine.jpg"}, {"bytes": jpeg(10), "path": None}]
    pq.write_table(pa.table({"image": rows}), folder / "hf.parquet")
    return folder


def listed(plan: Plan) -> list[StoredImage]:
    return [image for shard in plan.shards for image in images_of(shard, plan.column)]


@pytest.mark.parametrize("by_address", [False, True])
def test_every_image_is_in_one_shard(source: Path, by_address: bool) -> None:
    where = f"file://{source}" if by_address else str(source)
    plan, others = make_plan([where], "m", options={}, shard_images=3)
    assert [Path(other).name for other in others] == ["notes.txt"]
    assert [shard.kind for shard in plan.shards] == ["files"] * 2 + ["parquet"] * 3 + ["tar"]
    images = listed(plan)
    assert [image.content for image in images] == [*map(jpeg, [0, 1, 2, 3, 4, 7, 8]), None, *map(jpeg, [9, 10, 5, 6])]
    names = [image.name.removeprefix(where) for image in images]
    assert names[4:] == [
        "/deep/4.jpg", "/b.parquet#row 0", "/b.parquet#row 1", "/b.parquet#row 2", "/hf.parquet#row 0 nine.jpg",
        "/hf.parquet#row 1", "/some.tar/a/0.jpg", "/some.tar/a/1.jpg",
    ]  # fmt: skip
    assert images[7].reason is not None
    assert Plan.from_json(plan.to_json()) == plan


def test_addresses_lead_where_they_say(source: Path) -> None:
    (source / "a b %41.jpg").write_bytes(jpeg(11))
    (source / "deep" / "q?.jpg").write_bytes(jpeg(12))
    plan, _ = make_plan([str(source)], "m", options={})
    wanted = [(image.name.removeprefix(str(source)), image.content) for image in listed(plan)]
    assert ("/a b %41.jpg", jpeg(11)) in wanted
    for address in (f"file://{source}", f"file://{source}/"):
        plan, _ = make_plan([address], "m", options={})
        found = [(image.name.removeprefix(address.rstrip("/")), image.content) for image in listed(plan)]
        assert found == wanted
    for address in ("file:///", "s3://key:secret@bucket/folder"):
        with pytest.raises(ConfigError, match=r"name a folder|with a password"):
            make_plan([address], "m", options={})
    assert lies_in("s3://a/b/c?region=x", "s3://a/b/?region=x")
    out = f"file://{source.parent}/out/"
    assert begin(plan, out) == begin(plan, out) == list(range(len(plan.shards)))
    assert (source.parent / "out" / PLAN_FILE).is_file()


def test_sources_are_read_one_after_another_and_once(source: Path) -> None:
    sources = [str(source / "deep"), f"file://{source}/deep", str(source), str(source / "deep" / "1.jpg")]
    plan, others = make_plan([*sources, sources[0]], "m", options={}, shard_images=3)
    images = [image.content for image in listed(plan)]
    assert images == [*map(jpeg, range(5))] * 2 + [*map(jpeg, [7, 8]), None, *map(jpeg, [9, 10, 5, 6])]
    assert [Path(other).name for other in others] == ["notes.txt"]


def test_an_empty_file_has_a_reason(source: Path) -> None:
    (source / "deep" / "2.jpg").write_bytes(b"")
    write_tar(source / "some.tar", {"0.jpg": b"", "1.jpg": jpeg(1)})
    plan, _ = make_plan([str(source)], "m", options={})
    empty = [image for image in listed(plan) if not image.content]
    assert [Path(image.name).name for image in empty] == ["2.jpg", "b.parquet#row 2", "0.jpg"]
    assert all(image.reason and image.reason.endswith("is empty.") for image in empty)


def test_a_table_without_images_is_told_with_other_files(source: Path) -> None:
    pq.write_table(pa.table({"id": [1]}), source / "metadata.parquet")
    _, others = make_plan([str(source)], "m", options={})
    assert [Path(other).name for other in others] == ["metadata.parquet", "notes.txt"]
    with pytest.raises(ConfigError, match="holds no images"):
        make_plan([str(source / "metadata.parquet")], "m", options={})


def test_what_cannot_be_read_is_a_row_with_its_reason(source: Path) -> None:
    plan, _ = make_plan([str(source)], "m", options={})
    (source / "deep" / "2.jpg").unlink()
    (source / "hf.parquet").write_bytes(b"nothing")
    whole = (source / "some.tar").read_bytes()
    (source / "some.tar").write_bytes(whole[: len(jpeg(5)) + 700])
    unread = {Path(image.name).name: image.reason for image in listed(plan) if image.content is None}
    assert set(unread) == {"2.jpg", "b.parquet#row 2", "hf.parquet", "some.tar"}
    assert all(reason and "\n" not in reason for reason in unread.values())


@pytest.mark.parametrize(
    ("sources", "options", "told"),
    [
        (["nowhere"], {}, "does not exist"),
        (["empty"], {}, "holds no images"),
        (["what://bucket/x"], {}, "no file system"),
        (["source"], {"shard_images": 0}, "at least one"),
        (["broken.parquet"], {}, "not a Parquet file"),
    ],
)
def test_sources_that_cannot_be_used_are_named(
    source: Path, monkeypatch: pytest.MonkeyPatch, sources: list[str], options: dict[str, int], told: str
) -> None:
    monkeypatch.chdir(source.parent)
    Path("empty").mkdir()
    Path("broken.parquet").write_bytes(b"no")
    with pytest.raises(ConfigError, match=told):
        make_plan(sources, "m", options={}, **options)


@pytest.mark.parametrize(("column", "told"), [(None, "choose one by --column"), ("id", "no column 'id'")])
def test_a_column_that_is_not_clear_is_asked_for(tmp_path: Path, column: str | None, told: str) -> None:
    pq.write_table(pa.table({"a": [jpeg(0)], "b": [jpeg(1)], "id": [1]}), tmp_path / "two.parquet")
    with pytest.raises(ConfigError, match=told):
        make_plan([str(tmp_path)], "m", options={}, column=column)
    plan, _ = make_plan([str(tmp_path)], "m", options={}, column="b")
    assert [image.content for image in listed(plan)] == [jpeg(1)]


def test_a_folder_goes_on_with_its_own_job_alone(source: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f".{PLAN_FILE}.0123abcd").write_bytes(b"a killed job's")
    plan, _ = make_plan([str(source)], "m", options={}, shard_images=3)
    assert begin(plan, out) == [0, 1, 2, 3, 4, 5]
    (tmp_path / "out" / plan.shards[1].file).write_bytes(b"done")
    (tmp_path / "out" / f".{plan.shards[2].file}.0123abcd").write_bytes(b"a killed worker's")
    assert begin(plan, out) == [0, 2, 3, 4, 5]
    for other in (
        make_plan([str(source)], "other", options={}, shard_images=3)[0],
        make_plan([str(source)], "m", options={"top_k": 2}, shard_images=3)[0],
        make_plan([str(source)], "m", options={}, shard_images=4)[0],
        make_plan([str(source)], "m", options={}, shard_images=3, weights="others")[0],
    ):
        with pytest.raises(ConfigError, match="give a new folder"):
            begin(other, out)
    (tmp_path / "out" / PLAN_FILE).write_text("{}")
    with pytest.raises(ConfigError, match="not the plan"):
        begin(plan, out)
    with pytest.raises(ConfigError, match="no job has written"):
        begin(plan, str(source))


def test_an_image_that_cannot_be_predicted_fails_alone(source: Path) -> None:
    def predict(images: list[bytes]) -> list[str]:
        if jpeg(3) in images:
            raise DataError("the network gives no numbers")
        return ["found"] * len(images)

    worker = ShardWorker.__new__(ShardWorker)
    worker.plan, worker.predictor = Plan(model="m", weights="", options={}, column=None, shards=()), predict
    results = worker._results([_named(StoredImage(f"{number}.jpg", jpeg(number))) for number in (2, 3, 4)])
    assert [getattr(result, "reason", result) for result in results] == [
        "found",
        "the network gives no numbers",
        "found",
    ]


def test_a_worker_takes_nothing_from_two_machines() -> None:
    for machine, workers, count in (
        ({"CPU": 4.0}, Workers(cpus=8), 0),
        ({"CPU": 4.0}, Workers(cpus=2), 2),
        ({"CPU": 4.0}, Workers(gpus=1), 0),
        ({"CPU": 4.0, "GPU": 1.0}, Workers(gpus=0.5), 2),
    ):
        assert _fitting(machine, workers) == count


def test_a_plan_means_the_same_from_another_folder(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source.parent / "model").mkdir()
    monkeypatch.chdir(source.parent)
    plan, _ = make_plan(["source"], "model", options={})
    monkeypatch.chdir("/")
    assert plan == make_plan([str(source)], str(source.parent / "model"), options={})[0]
    assert all(image.content or image.name.endswith("row 2") for image in listed(plan))


@pytest.mark.parametrize("out", ["source", "source/results", "./source/deep/x", "source/../source/y"])
def test_results_among_what_is_read_are_refused(
    source: Path, out: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(source.parent)
    assert main(["batch", "source", "--out", out]) == 2
    assert "which is read" in capsys.readouterr().err
    assert not lies_in("sources", "source")
    assert lies_in("s3://a/b/c", "s3://a/b")
