"""`predict --runtime`: the file is made once, gives the same results, and PyTorch stays where it would not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from small_images import jpeg
from sparsevision.checkpoints import save_checkpoint
from sparsevision.cli import main
from sparsevision.errors import ConfigError
from sparsevision.export import exporting, fastest
from sparsevision.factory import create_model
from sparsevision.types import Preprocessing
from tiny_detector import SHOWN, save_tiny_detector

pytestmark = pytest.mark.slow
TOKENS = {
    "num_tokens": 6, "num_points": 4, "feature_channels": 8, "focusing_width": 16, "focusing_repeats": 2,
    "cortex_width": 32, "cortex_depth": 2, "head_width": 8, "num_classes": 3,
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPARSEVISION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = create_model("sparseformer_nano", **TOKENS)
    view = Preprocessing(size=(48, 48))
    return save_checkpoint(tmp_path / "m", model, name="sparseformer_nano", preprocessing=view, labels=("a", "b", "c"))


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[list[dict[str, Any]], str]:
    assert main(["predict", "--json", *words]) == 0
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


def first_is_slow(calls: dict[str, Any], *_: Any, **__: Any) -> dict[str, list[float]]:
    for call in calls.values():
        call()
    return {name: [-float(place)] for place, name in enumerate(calls)}


def test_the_fastest_is_exported_once_and_gives_the_same_results(
    weights: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "image.jpg"
    image.write_bytes(jpeg(1))
    words = [str(image), "--model", str(weights), "--top-k", "2"]
    expected, _ = told(capsys, *words)
    # As if PyTorch were slow: which one is faster for so small a network is chance.
    monkeypatch.setattr(fastest, "time_interleaved", first_is_slow)
    found, err = told(capsys, *words, "--runtime", "auto")
    assert err.startswith("Runtime: OpenVINO")
    [one], [other] = found, expected
    assert [each["label"] for each in one["classes"]] == [each["label"] for each in other["classes"]]
    monkeypatch.setattr(fastest, "export_model", lambda *_, **__: pytest.fail("exported again"))
    again, err = told(capsys, *words, "--runtime", "auto")
    assert again == found
    again, err = told(capsys, *words, "--runtime", "onnxruntime")
    assert err.startswith("Runtime: ONNX Runtime")
    assert {path.name for path in cache.glob("exports/*/*/model.*")} == {"model.bin", "model.onnx", "model.xml"}


def test_pytorch_stays_where_a_file_would_see_images_otherwise(tmp_path: Path) -> None:
    chosen = fastest.choose_runtime(str(save_tiny_detector(tmp_path / "detector")), "auto")
    assert (chosen.title, chosen.file) == ("PyTorch", None)
    assert "any sides" in chosen.reason
    with pytest.raises(ConfigError, match="any sides"):
        fastest.choose_runtime(str(tmp_path / "detector"), "onnxruntime")


def test_a_model_at_multiples_of_32_is_timed_at_a_size_that_its_file_takes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = create_model("sparseformer_nano", **TOKENS)
    shown = Preprocessing(size=(96, 150), fit="short", multiple=32)
    weights = save_checkpoint(
        tmp_path / "m", model, name="sparseformer_nano", preprocessing=shown, labels=("a", "b", "c")
    )
    monkeypatch.setattr(fastest, "time_interleaved", first_is_slow)
    monkeypatch.setattr(fastest, "find_spec", lambda name: None if name == "openvino" else name)
    assert fastest.choose_runtime(str(weights), "auto").title == "ONNX Runtime"
    # Other packages, another choice.
    monkeypatch.setattr(fastest, "find_spec", lambda name: None)
    assert fastest.choose_runtime(str(weights), "auto").file is None
    assert len(list(cache.glob("exports/*/fastest_*.json"))) == 2


def test_a_file_that_was_not_compared_is_not_kept(weights: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "compare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fastest.choose_runtime(str(weights), "onnxruntime")
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_controls_are_fixed_in_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    shown = Preprocessing(size=(64, 96), fit="stretch", interpolation=SHOWN.interpolation)
    detector = save_tiny_detector(tmp_path / "detector", shown=shown)
    image = tmp_path / "image.jpg"
    image.write_bytes(jpeg(1, 120, 90))
    words = [str(image), "--model", str(detector), "--keep-ratio", "0.5", "--threshold", "0.3"]
    [expected], _ = told(capsys, *words)
    [found], _ = told(capsys, *words, "--runtime", "onnxruntime")
    assert [each["label"] for each in found["objects"]] == [each["label"] for each in expected["objects"]]
    assert len(list(cache.glob("exports/*"))) == 1


def test_what_a_file_cannot_do_is_refused(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["--device", "cuda"], "for the CPU"),
        (["--features", str(tmp_path / "f.npz")], "no pooled features"),
    ):
        assert main(["predict", "any.jpg", "--model", str(weights), "--runtime", "auto", *words]) == 2
        assert said in capsys.readouterr().err
