"""The weights that the package brings are small, described, and load strictly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sparsevision import create_model
from sparsevision.models.published import count_parameters
from sparsevision.training import recipe_names

FOLDER = Path(__file__).resolve().parents[2] / "src" / "sparsevision" / "weights"
FIGURES = FOLDER.parents[2] / "docs" / "_static" / "figures"
SHIPPED = sorted(FOLDER.glob("*.safetensors"))


def test_they_are_small() -> None:
    sizes = [path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()]
    assert max(sizes) <= 20_000_000
    assert sum(sizes) <= 42_000_000


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_they_load(path: Path) -> None:
    model = create_model(path.stem, pretrained=True)
    assert len(model.identity.labels) == model.num_classes


ROWS = ["model", "classes", "file", "data", "starting weights", "recipe", "machine"]
SECTIONS = ["Scores", "What it gets right, and what it does not", "Intended use"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_cards_are_on_one_pattern(path: Path) -> None:
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    title, *sections = re.findall(r"^#+ (.*)$", card, re.MULTILINE)
    assert re.fullmatch(rf"{path.stem}(\.\w+)?, .+", title)
    assert sections == SECTIONS
    head, scores, shown, _ = re.split(r"^## .*$", card, flags=re.MULTILINE)
    facts = dict(re.findall(r"^\| (\w[\w ]*) \| (.*) \|$", head, re.MULTILINE))
    assert list(facts) == ROWS
    assert f"{path.stat().st_size:,} bytes" in facts["file"]
    assert f"{count_parameters(create_model(path.stem, pretrained=True)):,} parameters" in facts["model"]
    assert re.search(r"MIT|CC BY 4\.0|CC0|BSD", facts["data"])
    assert re.match(r"`(\w+)`", facts["recipe"])[1] in recipe_names()
    assert f"sparsevision evaluate {path.stem} --data" in scores
    assert re.search(r"!\[.+\]\(https://.*/docs/_static/figures/(.+)\)", shown)
    for name in re.findall(r"/docs/_static/figures/([\w.-]+)\)", card):
        assert (FIGURES / name).is_file(), name
