"""`sparsevision explain` with objects and a control: its figures, the object that is followed, the page's values."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsevision import Predictor, explain_images, explain_sweep
from sparsevision.cli import main
from tiny_detector import save_tiny_detector


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Path:
    return save_tiny_detector(tmp_path_factory.mktemp("detector") / "tiny")


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("images") / "cells.png"
    Image.effect_noise((120, 90), 80).convert("RGB").save(path)
    return path


def explain(capsys, *words: object) -> list[str]:
    assert main(["explain", *map(str, words)]) == 0
    return capsys.readouterr().out.splitlines()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("[!.]*")}


@pytest.mark.slow
def test_explain_draws_what_is_asked_for_and_names_it(detector, image, tmp_path, capsys) -> None:
    given = ("--model", detector, "--out", tmp_path, "--figure", "all", "--object", 2, "--gif", "--page")
    lines = explain(capsys, image, image, *given)
    kinds = ("-saliency.png", "-stages.png", "-query.png", "-disturbed.png", "-annotated.png", ".gif")
    assert names(tmp_path) == {f"{stem}{kind}" for stem in ("cells", "cells-2") for kind in kinds} | {"page.html"}
    assert lines[0].startswith(f"{image}: ")
    assert [Path(line).name for line in lines[2:]] == [*(f"cells{kind}" for kind in kinds),
                                                       *(f"cells-2{kind}" for kind in kinds), "page.html"]  # fmt: skip
    assert Image.open(tmp_path / "cells.gif").n_frames == 6


@pytest.mark.parametrize(("given", "kind"), [((), "saliency"), (("--object", "1"), "query")])
def test_one_figure_is_drawn_by_default(detector, image, tmp_path, capsys, given, kind) -> None:
    explain(capsys, image, "--model", detector, "--out", tmp_path, *given)
    assert names(tmp_path) == {f"cells-{kind}.png"}


def test_without_objects_there_is_no_query_to_draw(detector, image, tmp_path, capsys) -> None:
    lines = explain(
        capsys, image, "--model", detector, "--out", tmp_path, "--figure", "all", "--threshold", 1, "--page"
    )
    assert lines[0] == f"{image}: nothing"
    kinds = ("saliency", "stages", "disturbed", "annotated")
    assert names(tmp_path) == {*(f"cells-{kind}.png" for kind in kinds), "page.html"}


def test_the_page_starts_from_the_keep_ratio_that_was_given(detector, image, tmp_path, capsys) -> None:
    given = ("--model", detector, "--out", tmp_path, "--keep-ratio", 0.4, "--figure", "none", "--page")
    explain(capsys, image, *given)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    shown = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])["images"][0]
    assert [run["value"] for run in shown["runs"]] == ["0.05", "0.1", "0.2", "0.3", "0.4", "0.5", "1"]
    assert shown["start"] == 4
    kept = [int(run["facts"]["updated tokens"].split()[0]) for run in shown["runs"]]
    assert kept == sorted(kept)
    assert all(run["facts"]["time"].endswith("s") for run in shown["runs"])


def test_an_explanation_holds_the_prediction(detector, image) -> None:
    predictor = Predictor(detector, "cpu")
    plain = predictor(str(image), keep_ratio=0.2, threshold=0.0)
    [explanation] = explain_images(predictor, [str(image)], keep_ratio=0.2, threshold=0.0)
    assert explanation.result.to_dict() == plain.to_dict()
    assert explanation.settings == {"keep_ratio": 0.2, "selection": "dam"}
    assert explanation.setting == "keep ratio 0.2"
    [sweep] = explain_sweep(predictor, [str(image)], keep_ratio=0.2, threshold=0.0)
    assert sweep.explanations[sweep.start].result.to_dict() == plain.to_dict()
    regions = [explanation.stages[-1].regions[query] for query in explanation.queries]
    np.testing.assert_allclose(regions, plain.boxes, atol=1e-3)


def test_the_settings_name_a_random_selection(detector, image) -> None:
    [explanation] = explain_images(Predictor(detector, "cpu"), [str(image)], selection="random")
    assert explanation.setting == "keep ratio 0.3, selection random"


def test_explain_leaves_out_what_it_cannot_read(detector, image, tmp_path, capsys) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    given = ["--model", str(detector), "--out", str(tmp_path / "out")]
    assert main(["explain", str(broken), str(image), *given]) == 0
    assert "broken.jpg" in capsys.readouterr().err


def test_without_a_control_the_stages_are_animated(tmp_path, image, capsys) -> None:
    dense = save_tiny_detector(tmp_path / "dense", selection="all")
    given = ["--model", str(dense), "--out", str(tmp_path / "out")]
    explain(capsys, image, *given, "--page", "--gif")
    assert names(tmp_path / "out") == {"cells-saliency.png", "cells.gif", "page.html"}
    assert Image.open(tmp_path / "out" / "cells.gif").n_frames == 9
