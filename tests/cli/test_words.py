"""Words of a command line that cannot be meant, and paths that are not text: one sentence, before any work."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import pytest
from PIL import Image

from sparsevision import cli
from sparsevision.checkpoints import save_checkpoint
from sparsevision.factory import create_model
from sparsevision.types import Preprocessing
from tiny_detector import save_tiny_detector

SMALL = {"num_tokens": 4, "num_points": 4, "feature_channels": 8, "focusing_width": 64, "cortex_width": 64}
VIEW = Preprocessing(size=(32, 32))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    save_tiny_detector(folder / "detector")
    model = create_model("sparseformer_nano", num_classes=2, cortex_depth=1, **SMALL)
    save_checkpoint(
        folder / "classifier", model, name="sparseformer_nano", preprocessing=VIEW, labels=("ant", "bee")
    )  # fmt: skip
    return folder


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("detector", "classifier"):
        Path(name).symlink_to(weights / name)
    for number, name in enumerate(("my/ant/a.png", "my/ant/b.png", "my/bee/c.png", "my/bee/d.png")):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((48, 40), 40 + number).convert("RGB").save(name)


EVALUATE = ["evaluate", "classifier", "--data", "my"]
PREDICT = ["predict", "my", "--model", "detector"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*PREDICT, "--draw", ""], "--draw is empty: give it a value"),
        ([*PREDICT, "--draw="], "--draw is empty: give it a value"),
        (["predict", "my", "--model", ""], "--model is empty"),
        (["predict", ""], "One of the arguments is empty"),
        (["evaluate", "classifier", "--data", ""], "--data is empty"),
        (["train", "--data", "my", "--out", ""], "--out is empty"),
        (["train", "--data", "", "--out", "run"], "--data is empty"),
        (["explain", "my", "--out", ""], "--out is empty"),
        (["benchmark", "--macs", "--out", ""], "--out is empty"),
        (["doctor", ""], "One of the arguments is empty"),
        ([*PREDICT, "--coco", "-"], "'-' is not the name of a file"),
        ([*PREDICT, "--coco", "a.npz", "--features", "./a.npz"], "is named twice as an output|no pooled features"),
        ([*EVALUATE, "--confusion", "-"], "--confusion is given without a value"),
        ([*EVALUATE, "--confusion"], "--confusion is given without a value"),
        ([*EVALUATE, "--keep-ratio"], "--keep-ratio is given without a value"),
        ([*EVALUATE, "--confusion", "a.csv", "b.csv"], "--confusion writes one file and was given 2: a.csv, b.csv"),
        (["predict", "--", "my/ant/a.png", "--model", "detector"], "--model stands behind --"),
        (["explain", "--", "my/ant/a.png", "--out", "x"], "--out stands behind --"),
        (["benchmark", "--macs", "--out", "a.json", "b.json", "a.json"], "'a.json' is named twice as an output"),
        (["benchmark", "--macs", "--out", "a.json", "my/../a.json"], "is named twice as an output"),
        (["predict", "my", "--model", "my/ant/a.png"], "not an intact file of weights: give a .safetensors or .pth"),
        (["predict", "my", "--model", "detector/config.json"], "not an intact file of weights: give a .safetensors"),
        (["predict", "my", "--model", "recipe.toml"], "not an intact file of weights: give a .safetensors or .pth"),
    ],
)
def test_one_sentence_and_nothing_written(words: list[str], said: str, capsys) -> None:
    Path("recipe.toml").write_text("[model]\nname = 'sparseformer_nano'\n")
    before = {path for path in Path().rglob("*") if path.is_file()}
    assert cli.main(words) == 2
    err = capsys.readouterr().err
    assert any(each in err for each in said.split("|")), err
    assert err.count("\n") == 1
    assert {path for path in Path().rglob("*") if path.is_file()} == before


NOT_TEXT = os.fsdecode(b"n\xff")


@pytest.mark.skipif(sys.platform != "linux", reason="paths are text here")
@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_weights_under_a_path_that_is_not_text_are_read(name: str, capsys) -> None:
    Path(NOT_TEXT).mkdir()
    Path(NOT_TEXT, "own").symlink_to(Path("detector").resolve())
    path = Path(NOT_TEXT, "own", name)
    if name:  # weights of one file carry their description
        model = create_model("sparseformer_nano", num_classes=2, cortex_depth=1, **SMALL)
        save_checkpoint(Path("one.safetensors"), model, name="sparseformer_nano", preprocessing=VIEW, labels=("a", "b"))
        path = Path(NOT_TEXT, "one.safetensors")
        Path("one.safetensors").rename(path)
    assert cli.main(["predict", "my/ant/a.png", "--model", str(path)]) == 0
    assert "a.png" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="paths are text here")
@pytest.mark.parametrize("words", [["--out", NOT_TEXT], ["--out", "run", "--model", f"{NOT_TEXT}/own"]])
def test_a_run_says_that_its_paths_must_be_text(words: list[str], capsys) -> None:
    Path(NOT_TEXT).mkdir()
    Path(NOT_TEXT, "own").symlink_to(Path("classifier").resolve())
    assert cli.main(["train", "--data", "my", *words]) == 2
    assert "is not UTF-8, as what a run writes is: rename it" in capsys.readouterr().err
    assert not Path("run").exists()


def test_the_default_of_an_option_is_the_one_that_is_used(capsys) -> None:
    assert cli.main(["models", "sparseformer_nano"]) == 0
    [row] = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("--top-k")]
    assert row[:5] == ["--top-k", "1", "to", "1,000,000", "5"]


def test_a_warning_is_one_line_without_the_place_in_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def command(tokens: list[str], **settings: object) -> None:
        shown.append(warnings.formatwarning("Words of\nmine.", UserWarning, "file.py", 7))

    usual = warnings.formatwarning
    monkeypatch.setattr(cli, "app", command)
    assert cli.main(["predict"]) == 0
    assert shown == ["sparsevision: Words of mine.\n"]
    assert warnings.formatwarning is usual
