"""The table of what is exported as what is that of the package, and what it lacks is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sparsevision.checkpoints import save_checkpoint
from sparsevision.cli import main
from sparsevision.errors import ConfigError
from sparsevision.export import FORMATS, ExportOptions, export_model
from sparsevision.export.fastest import choose_runtime
from sparsevision.export.formats import _converted
from sparsevision.export.support import support_of, support_table
from sparsevision.factory import create_model
from sparsevision.models.registry import variants
from sparsevision.types import Preprocessing


def test_every_registered_model_is_written_in_every_format_that_can_hold_it() -> None:
    for name, variant in variants().items():
        found = {each.format: each for each in support_of(name)}
        assert found.keys() >= {"onnx", "pt2"}
        assert all("fp32" in each.precisions for each in found.values())
        # OpenVINO does not sample between frames.
        assert ("openvino" in found) == (variant.family.task != "video_classification")
        if "openvino" in found:
            assert "fp16" in found["openvino"].precisions
            assert ("int8" in found["openvino"].precisions) == ("openvino" in variant.int8)
        # A page shows no clips, and nothing of an embedding.
        assert ("web" in found) == (variant.family.task != "video_classification" and "_clip_" not in name)
    assert not support_of("video_sparseformer_nano")[0].may_be_open
    assert support_of("sparse_detr_nano")[0].open_by_default
    windows = support_of("sparse_detr_swin_t_10")[0]
    assert (windows.open_by_default, windows.may_be_open) == (False, False)
    assert not support_of("sparseformer_nano")[0].open_by_default


def test_openvino_is_not_asked_to_sample_between_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino")
    model = create_model("video_sparseformer_nano", num_classes=2, cortex_depth=1)
    with pytest.raises(ConfigError, match="samples between the frames of a video, which OpenVINO cannot: choose onnx"):
        export_model(model, tmp_path / "model.xml", ExportOptions(format="openvino"))

    def failing(path: Path) -> None:
        raise openvino.frontend.OpConversionFailure("failed\n\nSummary:\n-- Conversion is failed for: GridSample-20\n")

    monkeypatch.setattr(openvino, "convert_model", failing)
    with pytest.raises(ConfigError, match=r"read this model \(Conversion is failed for: GridSample-20\): choose"):
        _converted(tmp_path / "model.onnx")


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


def test_a_backbone_of_windows_keeps_to_one_size(tmp_path: Path) -> None:
    small = {"width": 32, "encoder_depth": 2, "decoder_depth": 1, "ffn_width": 32, "num_heads": 4, "num_classes": 3}
    model = create_model("sparse_detr_swin_t_10", **small)
    view = Preprocessing(size=(64, 96), fit="short", multiple=32)
    model.identity = replace(model.identity, preprocessing=view, labels=("ant", "bee", "cat"))
    with pytest.raises(ConfigError, match="windows is exported for images of one size: omit dynamic"):
        export_model(model, tmp_path / "model.onnx", ExportOptions(dynamic=True))
    saved = save_checkpoint(
        tmp_path / "w", model, name="sparse_detr_swin_t_10", preprocessing=view, labels=("ant", "bee", "cat")
    )
    assert "at one size" in choose_runtime(str(saved)).reason


def test_what_torch_finds_no_words_for_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refusing(*_: object, **__: object) -> None:
        raise AssertionError("Expected op to be '=='")

    monkeypatch.setattr("torch.export.export", refusing)
    with pytest.raises(ConfigError, match=r"Expected op to be '=='\): try one fixed --size"):
        export_model("sparseformer_nano", tmp_path / "model.onnx")
