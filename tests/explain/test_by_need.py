"""Figures, animations and panels by need: a line in a table is all that a new one takes; refusals name the others."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from matplotlib.figure import Figure
from PIL import Image

from sparsevision.cli import main
from sparsevision.errors import ConfigError, UnknownNameError
from sparsevision.explain import (
    Explanation,
    ExplanationWriter,
    FigureKind,
    all_figures,
    figures_for,
    registry,
    save_page,
)
from sparsevision.types import Control

WIDE = Control("wide", 2, 1, 8, "width in inches", whole=True)


def draw(explanation: Explanation, wide: int = 2) -> Figure:
    figure = Figure(figsize=(wide, 1))
    figure.text(0, 0, explanation.answer())
    return figure


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> FigureKind:
    """A figure in a module of its own, and one more line in the table."""
    module = ModuleType("toy_figure")
    kind = FigureKind(name="toy", description="a toy", needs=frozenset({"points"}), draw=draw, options=(WIDE,))
    module.FIGURE = kind
    monkeypatch.setitem(sys.modules, "toy_figure", module)
    monkeypatch.setattr(registry, "FIGURES", (*registry.FIGURES, "toy_figure:FIGURE"))
    return kind


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.effect_noise((60, 40), 80).convert("RGB").save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def test_a_figure_needs_one_line_in_the_table(toy: FigureKind, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["explain", str(image), "--out", str(out), "--figure", "toy", "--wide", "3"]) == 0
    with Image.open(out / "noise-toy.png") as drawn:
        assert drawn.size == (3 * 220, 220)


def test_an_option_alone_chooses_its_figure(toy: FigureKind, make_explanation: Callable, tmp_path: Path) -> None:
    writer = ExplanationWriter(tmp_path, options={"wide": 4})
    writer.write(make_explanation())
    assert [path.name for path in writer.written] == ["image-toy.png"]


def test_figures_are_offered_by_what_there_is(make_explanation: Callable, make_objects: Callable) -> None:
    def offered(explanation: Explanation) -> list[str]:
        return [kind.name for kind in figures_for(explanation.has)]

    assert offered(make_explanation()) == ["stages", "tokens", "annotated"]
    assert offered(make_objects()) == ["saliency", "stages", "query", "annotated"]
    assert [kind.name for kind in figures_for([])] == ["annotated"]


def test_what_is_not_offered_is_refused(make_explanation: Callable, make_objects: Callable, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Unknown figure: 'stage'; the nearest are 'stages'"):
        ExplanationWriter(tmp_path, figure="stage")
    with pytest.raises(ConfigError, match="'query': choose from stages, tokens, annotated"):
        ExplanationWriter(tmp_path, figure="query").write(make_explanation())
    with pytest.raises(ConfigError, match="--object belongs to the figures query, of which none is drawn"):
        ExplanationWriter(tmp_path, figure="saliency", options={"object": 1}).write(make_objects())
    with pytest.raises(ConfigError, match="Object 9"):
        ExplanationWriter(tmp_path, figure="all", options={"object": 9}).write(make_objects())
    writer = ExplanationWriter(tmp_path, figure="all")
    writer.write(make_objects(labels=()))
    assert "cells-query.png" not in [path.name for path in writer.written]


def test_every_option_has_one_meaning() -> None:
    options = {option for kind in all_figures() for option in kind.options}
    assert len({option.name for option in options}) == len(options)


def test_a_panel_is_shown_where_its_needs_are_met(
    make_explanation: Callable, make_objects: Callable, tmp_path: Path
) -> None:
    def panels(*explained: Explanation) -> list[dict[str, bool]]:
        text = save_page(explained, tmp_path / "page.html").read_text(encoding="utf-8")
        content = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
        runs = [run for each in content["images"] for run in each["runs"]]
        return [{name: found is not None for name, found in run["panels"].items()} for run in runs]

    assert panels(make_explanation()) == [{"scores": True, "stages": True}]
    assert panels(make_objects()) == [{"objects": True, "levels": True, "settings": True}]


def test_a_panel_is_one_module_and_one_file(
    monkeypatch: pytest.MonkeyPatch, make_explanation: Callable, tmp_path: Path
) -> None:
    folder = tmp_path / "toy_panels"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "words.py").write_text(
        "from sparsevision.explain import PanelKind\n"
        "PANEL = PanelKind(name='words', needs=frozenset(), content=lambda explanation: {'text': 'a toy'})\n"
    )
    (folder / "words.html").write_text(
        "<style>\n#w {}\n</style>\n<p id='w'></p>\n<script>\npage.panel('words', {});\n</script>\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    monkeypatch.setattr(registry, "PANELS", (*registry.PANELS, "toy_panels.words:PANEL"))
    text = save_page([make_explanation()], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<p id='w'></p>" in text.split("</main>")[0]
    assert "page.panel('words', {});" in text.rsplit("<script>", 1)[1]
    assert '"words":{"text":"a toy"}' in text
