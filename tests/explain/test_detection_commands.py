"""`sparsevision explain` with a detector: what it draws, which object it follows, and what it shares with predict."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsevision import Predictor, look_at, sweep_at
from sparsevision.cli import main

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_detector import save_tiny_detector


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Path:
    return save_tiny_detector(tmp_path_factory.mktemp("detector") / "tiny")


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "cells.png"
    Image.effect_noise((120, 90), 80).convert("RGB").save(path)
    return path


def explain(capsys, *words: object) -> list[str]:
    assert main(["explain", *map(str, words)]) == 0
    return capsys.readouterr().out.splitlines()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_explain_draws_what_is_asked_for_and_names_it(detector, picture, tmp_path, capsys) -> None:
    given = ("--model", detector, "--out", tmp_path, "--figure", "all", "--object", 2, "--gif", "--page")
    lines = explain(capsys, picture, picture, *given)
    kinds = ("-detections.png", "-saliency.png", "-query.png", ".gif")
    assert names(tmp_path) == {f"{stem}{kind}" for stem in ("cells", "cells-2") for kind in kinds} | {"page.html"}
    assert lines[0].startswith(f"{picture}: ")
    assert [Path(line).name for line in lines[2:]] == [*(f"cells{kind}" for kind in kinds),
                                                       *(f"cells-2{kind}" for kind in kinds), "page.html"]  # fmt: skip
    assert Image.open(tmp_path / "cells.gif").n_frames == 6


@pytest.mark.parametrize(("given", "kind"), [((), "saliency"), (("--object", "1"), "query")])
def test_one_figure_is_drawn_unless_more_is_said(detector, picture, tmp_path, capsys, given, kind) -> None:
    explain(capsys, picture, "--model", detector, "--out", tmp_path, *given)
    assert names(tmp_path) == {f"cells-{kind}.png"}


def test_all_figures_of_a_picture_without_objects_are_two(detector, picture, tmp_path, capsys) -> None:
    lines = explain(
        capsys, picture, "--model", detector, "--out", tmp_path, "--figure", "all", "--threshold", 1, "--page"
    )
    assert lines[0] == f"{picture}: nothing"
    assert names(tmp_path) == {"cells-detections.png", "cells-saliency.png", "page.html"}


def test_the_page_starts_from_the_keep_ratio_that_was_given(detector, picture, tmp_path, capsys) -> None:
    given = ("--model", detector, "--out", tmp_path, "--keep-ratio", 0.4, "--figure", "none", "--page")
    explain(capsys, picture, *given)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    shown = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])["pictures"][0]
    assert [run["value"] for run in shown["runs"]] == ["0.05", "0.1", "0.2", "0.3", "0.4", "0.5", "1"]
    assert shown["start"] == 4
    kept = [run["kept"] for run in shown["runs"]]
    assert kept == sorted(kept)
    assert all(run["seconds"] > 0 for run in shown["runs"])


def test_a_look_holds_what_predicting_says(detector, picture) -> None:
    predictor = Predictor(detector, "cpu")
    plain = predictor(str(picture), keep_ratio=0.2, threshold=0.0)
    [look] = look_at(predictor, [str(picture)], keep_ratio=0.2, threshold=0.0)
    assert look.result.to_dict() == plain.to_dict()
    assert look.settings == {"keep_ratio": 0.2}
    [sweep] = sweep_at(predictor, [str(picture)], keep_ratio=0.2, threshold=0.0)
    assert sweep.looks[sweep.start].result.to_dict() == plain.to_dict()
    regions = [look.stages[-1].regions[query] for query in look.queries]
    np.testing.assert_allclose(regions, plain.boxes, atol=1e-3)


def test_tokens_chosen_at_random_are_called_so(detector, picture) -> None:
    [sweep] = sweep_at(Predictor(detector, "cpu"), [str(picture)], whole=False, selection="random")
    assert sweep.looks[0].setting == "keep ratio 0.3, selection random"
    assert sweep.control is None


def test_explain_leaves_out_what_it_cannot_read(detector, picture, tmp_path, capsys) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    given = ["--model", str(detector), "--out", str(tmp_path / "out")]
    assert main(["explain", str(broken), str(picture), *given]) == 0
    assert "broken.jpg" in capsys.readouterr().err


def test_a_detector_that_updates_all_tokens_has_figures_and_a_page_and_no_animation(tmp_path, picture, capsys) -> None:
    dense = save_tiny_detector(tmp_path / "dense", selection="all")
    given = ["--model", str(dense), "--out", str(tmp_path / "out")]
    explain(capsys, picture, *given, "--page")
    assert names(tmp_path / "out") == {"cells-saliency.png", "page.html"}
    assert main(["explain", str(picture), *given, "--gif"]) == 2
    assert "this model has none: leave it out" in capsys.readouterr().err
