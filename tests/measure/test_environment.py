"""What the doctor calls harmful, and what only worth a note."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch
from PIL import Image

from sparsevision import cli
from sparsevision.measure import environment
from sparsevision.measure.environment import (
    Finding,
    examine_disk,
    examine_environment,
    examine_memory,
    examine_packages,
    examine_shared_memory,
    examine_threads,
    harms,
    judge_outputs,
)

GIB = 2**30
WELL = Finding("self-check", "runs")


@pytest.mark.parametrize(
    ("finding", "status"),
    [
        (examine_threads(4, 4), "ok"),
        (examine_threads(4, 2), "note"),
        (examine_threads(4, 9), "harm"),
        (examine_memory(8 * GIB, 16 * GIB), "ok"),
        (examine_memory(1 * GIB, 16 * GIB), "harm"),
        (examine_memory(0, 0), "ok"),
        (examine_shared_memory(4 * GIB), "ok"),
        (examine_shared_memory(64 * 2**20), "note"),
        (judge_outputs("paths", torch.ones(2), torch.ones(2)), "ok"),
        (judge_outputs("paths", torch.ones(2), torch.tensor([1.0, 1.1])), "harm"),
        (judge_outputs("paths", torch.ones(2), torch.tensor([1.0, float("nan")])), "harm"),
    ],
)
def test_each_finding_has_its_status_and_advice_where_something_can_be_done(finding: Finding, status: str):
    assert finding.status == status
    assert bool(finding.advice) == (status != "ok")


def test_a_full_disk_and_a_folder_that_cannot_be_written_are_harm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(environment.os, "access", lambda *_: False)
    assert "not writable" in examine_disk(tmp_path).value
    monkeypatch.undo()
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda _: type("Usage", (), {"free": GIB})())
    assert examine_disk(tmp_path).status == "harm"


def test_a_missing_core_package_is_harm_and_a_missing_extra_a_note_that_says_how_to_get_it():
    def installed(name: str) -> str:
        if name in ("timm", "accelerate"):
            raise PackageNotFoundError(name)
        return "1.0"

    found = {finding.name: finding for finding in examine_packages(installed)}
    assert found["timm"].status == "harm"
    assert found["torch"].status == "ok"
    extra = found["extra [train]"]
    assert extra.status == "note"
    assert "Missing: accelerate." in extra.advice
    assert "sparsevision[train]" in extra.advice
    assert found["extra [parquet]"].status == "ok"
    assert {"torch", "timm", "numpy"} <= set(found)


def test_the_environment_names_versions_devices_and_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(environment, "examine_model", lambda: WELL)
    found = {finding.name: finding.value for finding in examine_environment(tmp_path)}
    assert found["torch"] == version("torch")
    assert {"python", "cpu", "threads", "memory", "disk"} <= set(found)


@pytest.mark.parametrize(
    ("finding", "status"), [(WELL, 0), (Finding("self-check", "no weights", status="harm", advice="Reinstall."), 1)]
)
def test_status_1_if_something_would_hurt(
    finding: Finding, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(environment, "examine_environment", lambda: [Finding("extra [train]", "none"), finding])
    assert cli.main(["doctor"]) == status
    out = capsys.readouterr().out
    assert "extra [train]" in out
    assert ("self-check: no weights. Reinstall." in out) == bool(status)
    assert cli.main(["doctor", "--json"]) == status
    whole = json.loads(capsys.readouterr().out)
    assert (whole["schema_version"], len(whole["environment"]), len(whole["harmful"])) == (1, 2, status)


def test_a_data_set_is_examined_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    monkeypatch.setattr(environment, "examine_environment", lambda: [WELL])
    for number, folder in enumerate(("train/a", "train/b", "val/a", "val/b")):
        (tmp_path / folder).mkdir(parents=True)
        for shade in range(5):
            Image.new("RGB", (40, 30), (50 * number, 40 * shade, 9)).save(tmp_path / folder / f"{shade}.png")
    assert cli.main(["doctor", str(tmp_path)]) == 0
    assert "2 classes" in capsys.readouterr().out
    (tmp_path / "train" / "a" / "broken.png").write_bytes(b"no image")
    assert cli.main(["doctor", str(tmp_path)]) == 1
    assert "train/a/broken.png" in capsys.readouterr().out
    assert cli.main(["doctor", str(tmp_path / "absent"), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["harmful"]) == 1


def test_harms_are_only_the_harmful():
    assert harms(
        [WELL, Finding("a", "b", status="note", advice="c"), bad := Finding("a", "b", status="harm", advice="c")]
    ) == [bad]
