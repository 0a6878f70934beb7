"""The table of what is exported as what is that of the package, and what it lacks is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparsevision.cli import main
from sparsevision.export import FORMATS
from sparsevision.export.support import support_of, support_table
from sparsevision.models.registry import variants


def test_every_registered_model_is_written_in_every_format_but_pages() -> None:
    for name, variant in variants().items():
        found = {each.format: each for each in support_of(name)}
        assert found.keys() | {"web"} == {*FORMATS}
        assert all("fp32" in each.precisions for each in found.values())
        assert "fp16" in found["openvino"].precisions
        assert ("int8" in found["openvino"].precisions) == ("openvino" in variant.int8)
        # A page shows no clips, and nothing of an embedding.
        assert ("web" in found) == (variant.family.task != "video_classification" and "_clip_" not in name)
    assert not support_of("video_sparseformer_nano")[0].may_be_open
    assert support_of("sparse_detr_nano")[0].open_by_default
    assert not support_of("sparseformer_nano")[0].open_by_default


def test_a_missing_package_is_named_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sparsevision.export.formats.find_spec", lambda package: None if package == "onnx" else ...)
    monkeypatch.setattr("sparsevision.factory.open_model", None)
    assert main(["export", "sparseformer_nano", "--out", str(tmp_path / "model.onnx")]) == 2
    assert "onnx" in (said := capsys.readouterr().err)
    assert "[export]" in said


def test_the_command_tells_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "*_nano", "--formats"]) == 0
    text = capsys.readouterr().out
    assert "sparse_detr_nano" in text
    assert "multiples of 32" in text
    assert "fp32, fp16, int8" in text
    assert main(["models", "sparseformer_nano", "--formats", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["format"] for row in rows] == list(FORMATS)
    assert main(["models", "sparseformer_nanno", "--formats"]) == 2
    assert "sparseformer_nano" in capsys.readouterr().err
    assert len(support_table().rows) == len(variants())
