"""A cluster of two local nodes gives a single Predictor's rows, also where the job was killed and called again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from small_images import jpeg, write_tar
from sparsevision.cluster import make_plan
from sparsevision.inference import Predictor
from tiny_detector import save_tiny_detector

pytestmark = pytest.mark.slow
COUNT, KILLS = 1000, 2
BROKEN = {17, 444, 801, 999}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two nodes with a core each."""
    # What it starts must find the package where this process has it.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand images: files, rows and members of archives, of which some are none."""
    folder = tmp_path_factory.mktemp("images")
    contents = [b"none" if number in BROKEN else jpeg(number) for number in range(COUNT)]
    for number in range(600):
        (folder / f"{number:04d}.jpg").write_bytes(contents[number])
    pq.write_table(pa.table({"jpg": contents[600:800]}), folder / "rows.parquet", row_group_size=50)
    for first in (800, 900):
        write_tar(folder / f"{first}.tar", {f"{first + n}.jpg": contents[first + n] for n in range(100)})
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_detector(tmp_path_factory.mktemp("model"))


def command(source: Path, model: Path, out: Path, address: str) -> list[str]:
    return [
        sys.executable, "-m", "sparsevision", "batch", str(source), "--model", str(model), "--out", str(out),
        "--shard-images", "50", "--threshold", "0.3", "--address", address,
    ]  # fmt: skip


def rows_in(out: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(out.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def expected(source: Path, model: Path) -> list[tuple[Any, bool]]:
    """Returns objects, and whether there is a result, of a single Predictor."""
    table = pq.read_table(source / "rows.parquet")["jpg"].to_pylist()
    files: list[Any] = [*sorted(source.glob("*.jpg"))]
    files += [b"none" if number in BROKEN else jpeg(number) for number in range(800, COUNT)]
    files += table
    results = Predictor(model, "cpu")(files, threshold=0.3)
    return [(result.to_dict().get("objects"), not hasattr(result, "reason")) for result in results]


def close(ours: Any, theirs: Any) -> bool:
    return len(ours) == len(theirs) and all(
        a["label"] == b["label"]
        and a["score"] == pytest.approx(b["score"], abs=1e-4)
        and a["box"] == pytest.approx(b["box"], abs=0.02)
        for a, b in zip(ours, theirs, strict=True)
    )


def test_two_nodes_give_the_rows_of_one_predictor_after_kills(
    source: Path, model: Path, address: str, tmp_path: Path
) -> None:
    out, draws = tmp_path / "out", random.Random(0)
    kills = 0
    while kills < KILLS:
        begun = len(list(out.glob("*.parquet")))
        job = subprocess.Popen(command(source, model, out, address), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        wanted = begun + draws.randint(0, 2)
        while len(list(out.glob("*.parquet"))) < wanted or not (out / "plan.json").exists():
            assert job.poll() is None, job.communicate()[0].decode()
            time.sleep(0.02)
        time.sleep(draws.random())
        if job.poll() is None:
            job.send_signal(signal.SIGKILL)
            kills += 1
        job.wait()
    last = subprocess.run(command(source, model, out, address), capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert "shards were finished before" in last.stdout
    rows = rows_in(out)
    plan, _ = make_plan([str(source)], str(model), options={"threshold": 0.3}, shard_images=50)
    assert len(rows) == COUNT == len({row["name"] for row in rows})
    assert len(plan.shards) == len(list(out.glob("part-*.parquet"))) == 18
    for row, (objects, read) in zip(rows, expected(source, model), strict=True):
        assert (row["reason"] is None) == (row["result"] is not None) == read, row
        if read:
            assert close(json.loads(row["result"])["objects"], objects), row["name"]
    again = subprocess.run(command(source, model, out, address), capture_output=True, text=True, check=False)
    assert again.stdout.splitlines() == ["18 of 18 shards were finished before."]
