"""Maps of visual tokens: numbers are the trace's, every token has its panel, and the page shows each map."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sparsevision.checkpoints import save_checkpoint
from sparsevision.cli import main
from sparsevision.errors import ConfigError
from sparsevision.explain import Explanation, figures_for, save_figure, save_page
from sparsevision.explain.figures.attention import attention_figure
from sparsevision.explain.figures.interaction import interaction_figure
from sparsevision.explain.token_maps import entropy
from sparsevision.factory import create_model
from sparsevision.tasks.labels.result import ClassificationResult
from sparsevision.types import Geometry, Preprocessing, TokenMaps, Trace

MakeExplanation = Callable[..., Explanation]
TOKENS, GRID = 3, (2, 4)
NARROW = {"width": 8, "feature_width": 64, "token_width": 64, "num_heads": 4, "group_width": 16, "num_tokens": 4}


def a_trace(*, interaction: bool = True) -> Trace:
    """Token i of the first module is read from cell i alone; those of the second from all cells alike."""
    trace = Trace()
    cells = GRID[0] * GRID[1]
    alone = torch.eye(TOKENS, cells).view(1, TOKENS, *GRID)
    even = torch.full((1, TOKENS, *GRID), 1 / cells)
    for number, maps in ((1, alone), (2, even)):
        trace.record(f"module.{number}", TokenMaps(maps, maps.flip(1) if interaction else None))
    return trace[0]


@pytest.fixture
def make_maps() -> MakeExplanation:
    def make(name: str = "image.jpg", **options: Any) -> Explanation:
        image = Image.effect_noise((160, 80), 60).convert("RGB")
        geometry = Geometry((80, 160), (40.0, 0.0, 120.0, 80.0))
        result = ClassificationResult(
            name=name, classes=("pagoda", "ferry"), labels=("pagoda", "ferry"), scores=(0.8, 0.2), geometry=geometry,
            trace=a_trace(**options),
        )  # fmt: skip
        return Explanation(image=image, result=result)

    return make


def test_entropy_goes_from_nothing_to_the_logarithm_of_the_cells(make_maps: MakeExplanation) -> None:
    alone, even = make_maps().modules
    np.testing.assert_allclose(entropy(alone.read), 0, atol=1e-12)
    np.testing.assert_allclose(entropy(even.read), math.log(8))
    assert even.even == pytest.approx(math.log(8))
    assert alone.title == "Module 1"


def test_maps_are_relative_to_even_reading(make_maps: MakeExplanation) -> None:
    alone, even = make_maps().modules
    assert alone.relative()[1].flatten().tolist() == [0, 8, 0, 0, 0, 0, 0, 0]
    assert alone.relative("interaction")[0].flatten().tolist() == [0, 0, 8, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(even.relative(), 1)


def test_every_token_has_a_panel_with_its_entropy(make_maps: MakeExplanation, tmp_path: Path) -> None:
    explanation = make_maps()
    figure = attention_figure(explanation)
    written = {text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))}
    assert {"0: 0.0", "1: 0.0", "2: 0.0", "0: 2.1", "Module 1", "Module 2", "pagoda 0.80", "even: 2.1"} <= written
    assert sum(bool(axes.images) for axes in figure.axes) == 1 + 2 * TOKENS
    first, again = (save_figure(attention_figure(explanation), tmp_path / f"{i}.png") for i in range(2))
    assert first.read_bytes() == again.read_bytes()


def test_a_map_lies_over_the_view_and_nowhere_else(make_maps: MakeExplanation) -> None:
    explanation = make_maps()
    laid = explanation.laid(explanation.modules[0].read[1], (80, 160))
    rows, columns = np.nonzero(laid)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 39, 60, 79)


def test_missing_maps_are_refused(make_maps: MakeExplanation) -> None:
    explanation = make_maps(interaction=False)
    with pytest.raises(ConfigError, match="no maps of the kind 'interaction'"):
        interaction_figure(explanation)
    assert "interaction" not in [kind.name for kind in figures_for(explanation.has)]
    explanation.trace.token_maps.clear()
    with pytest.raises(ConfigError, match="pools its map without attention"):
        attention_figure(Explanation(image=explanation.image, result=explanation.result))


@pytest.fixture
def page_file(make_maps: MakeExplanation, tmp_path: Path) -> Path:
    explanations = [
        make_maps("first.jpg"),
        make_maps("/home/somebody/second.jpg", interaction=False),
    ]
    return save_page(explanations, tmp_path / "page.html")


def test_the_page_holds_every_map_and_refers_to_nothing_else(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    content = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    first, second = (each["runs"][0]["panels"]["modules"] for each in content["images"])
    assert [module["title"] for module in first["modules"]] == ["Module 1", "Module 2"]
    assert first["modules"][0]["grid"] == list(GRID)
    assert second["modules"][0]["interaction"] is None
    assert "somebody" not in text
    assert "https:" not in text
    with pytest.raises(ConfigError, match="at least one image"):
        save_page([], page_file)


@pytest.fixture
def opened(open_page: Any, page_file: Path) -> Iterator[Any]:
    with open_page(page_file) as page:
        yield page


def brightest(page: Any) -> list[float]:
    """Where on the map over the image the brightest pixel lies, as fractions."""
    return page.evaluate("""() => {
      const { width, height } = document.getElementById('maps');
      const copy = Object.assign(document.createElement('canvas'), { width, height });
      const context = copy.getContext('2d', { willReadFrequently: true });
      context.drawImage(document.getElementById('maps'), 0, 0);
      const { data } = context.getImageData(0, 0, width, height);
      let best = -1, at = 0;
      for (let i = 0; i < data.length; i += 4) {
        if (data[i] + data[i + 1] > best) { best = data[i] + data[i + 1]; at = i / 4; }
      }
      return [(at % width) / width, Math.floor(at / width) / height];
    }""")


@pytest.mark.slow
def test_pointing_at_a_token_shows_where_it_was_read(opened: Any) -> None:
    assert opened.locator("#tokens .map").count() == TOKENS
    opened.hover("#token-1")
    # The view is the middle half of the image, and the second of its four columns begins at three eighths.
    assert brightest(opened) == pytest.approx([0.375, 0], abs=0.01)
    assert "Token 1: at most 8.0 × even; entropy 0.00 of at most 2.08" in opened.text_content("#token")
    opened.check("input[value=interaction]")
    opened.hover("#token-0")
    assert brightest(opened) == pytest.approx([0.5, 0], abs=0.01)
    assert "entropy 0.00" in opened.text_content("#token")
    opened.mouse.move(2, 2)
    assert "All tokens together" in opened.text_content("#token")


@pytest.mark.slow
def test_modules_are_stepped_through_and_images_chosen(opened: Any) -> None:
    opened.keyboard.press("ArrowRight")
    assert "Module 2 (2 of 2)" in opened.text_content("#caption")
    assert opened.is_disabled("#next")
    opened.focus("#tokens")
    opened.keyboard.press("ArrowDown")
    assert "Token 0: at most 1.0 × even; entropy 2.08" in opened.text_content("#token")
    opened.click("#strip button:nth-child(1)")
    assert "Token 0: at most 8.0 × even" in opened.text_content("#token")
    opened.keyboard.press("Escape")
    assert "All tokens together" in opened.text_content("#token")
    opened.click("#images button:nth-child(2)")
    assert opened.text_content("#name") == "second.jpg"
    assert opened.is_disabled("input[value=interaction]")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: Any) -> Path:
    torch.manual_seed(0)
    model = create_model("vt_resnet18", num_classes=2, **NARROW)
    folder = tmp_path_factory.mktemp("model") / "vt"
    preprocessing = Preprocessing(size=(64, 64))
    return save_checkpoint(folder, model, name="vt_resnet18", preprocessing=preprocessing, labels=("ball", "box"))


def explained(checkpoint: Path, out: Path, *more: str) -> int:
    image = out.with_suffix(".png")
    Image.effect_noise((90, 64), 60).convert("RGB").save(image)
    return main(["explain", str(image), "--model", str(checkpoint), "--out", str(out), *more])


def test_explain_draws_attention_by_default(checkpoint: Path, tmp_path: Path) -> None:
    assert explained(checkpoint, tmp_path / "a") == 0
    assert {path.name for path in (tmp_path / "a").glob("[!.]*")} == {"a-attention.png"}
    assert explained(checkpoint, tmp_path / "b", "--figure", "all", "--page") == 0
    assert {path.name for path in (tmp_path / "b").glob("[!.]*")} == {
        "b-annotated.png", "b-attention.png", "b-interaction.png", "page.html"
    }  # fmt: skip


def test_faithfulness_measures_the_tokens_attention(checkpoint: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for label in ("ball", "box"):
            folder = tmp_path / "data" / split / label
            folder.mkdir(parents=True)
            Image.effect_noise((90, 64), 60).convert("RGB").save(folder / "one.png")
    out = tmp_path / "out"
    given = ["--faithfulness", "--data", str(tmp_path / "data"), "--model", str(checkpoint), "--out", str(out)]
    assert main(["explain", *given]) == 0
    rows = json.loads((out / "faithfulness.json").read_text())["rows"]
    assert [row["map"] for row in rows] == ["random", "centre", "attention, all modules", "attention, last module"]
    assert all(row["images"] == 2 and 0 <= row["deletion"] <= 1 for row in rows)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--figure", "stages"), "nothing for the figure 'stages': choose from attention, interaction, annotated"),
        (("--gif",), "No animation shows what the model records"),
        (("--radius", "0.1"), "--radius belongs to the figures stages, disturbed, of which none is drawn"),
        (("--object", "1"), "--object belongs to the figures query, of which none is drawn"),
        (("--keep-ratio", "0.1"), "Unknown option of this model or command: '--keep-ratio'"),
    ],
)
def test_what_means_nothing_here_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: tuple[str, ...], said: str
) -> None:
    assert explained(checkpoint, tmp_path / "a", *asked) == 2
    assert said in capsys.readouterr().err
