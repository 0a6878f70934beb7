"""Where visual tokens were read: numbers are the trace's, every token has its panel, and the page shows each map."""

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
from sparsevision.explain import AttentionLook, attention_figure, save_attention_page, save_figure
from sparsevision.explain.attention_look import entropy
from sparsevision.factory import create_model
from sparsevision.types import Classification, Geometry, Heat, Preprocessing, Trace

MakeLook = Callable[..., AttentionLook]
TOKENS, GRID = 3, (2, 4)
NARROW = {"width": 8, "feature_width": 64, "token_width": 64, "num_heads": 4, "group_width": 16, "num_tokens": 4}


def a_trace(*, interaction: bool = True) -> Trace:
    """Token i of the first module is read from cell i alone; those of the second from all cells alike."""
    trace = Trace()
    cells = GRID[0] * GRID[1]
    alone = torch.eye(TOKENS, cells).view(1, TOKENS, *GRID)
    even = torch.full((1, TOKENS, *GRID), 1 / cells)
    for number, maps in ((1, alone), (2, even)):
        trace.record(f"module.{number}", Heat((maps,)))
        if interaction:
            trace.record(f"module.{number}.interaction", Heat((maps.flip(1),)))
    return trace[0]


@pytest.fixture
def make_attention_look() -> MakeLook:
    def make(name: str = "picture.jpg", **options: Any) -> AttentionLook:
        picture = Image.effect_noise((160, 80), 60).convert("RGB")
        geometry = Geometry((80, 160), (64, 64), (40.0, 0.0, 120.0, 80.0))
        result = Classification(name, ("pagoda", "ferry"), (0.8, 0.2), geometry, a_trace(**options))
        return AttentionLook(picture, result, ("pagoda", "ferry"))

    return make


def test_entropy_goes_from_nothing_to_the_logarithm_of_the_cells(make_attention_look: MakeLook) -> None:
    alone, even = make_attention_look().modules
    np.testing.assert_allclose(entropy(alone.maps), 0, atol=1e-12)
    np.testing.assert_allclose(entropy(even.maps), math.log(8))
    assert even.even == pytest.approx(math.log(8))
    assert alone.title == "Module 1"


def test_maps_are_told_relative_to_even_reading(make_attention_look: MakeLook) -> None:
    alone, even = make_attention_look().modules
    assert alone.relative()[1].flatten().tolist() == [0, 8, 0, 0, 0, 0, 0, 0]
    assert alone.relative(interaction=True)[0].flatten().tolist() == [0, 0, 8, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(even.relative(), 1)


def test_every_token_has_a_panel_with_its_entropy(make_attention_look: MakeLook, tmp_path: Path) -> None:
    look = make_attention_look()
    figure = attention_figure(look)
    written = {text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))}
    assert {"0: 0.0", "1: 0.0", "2: 0.0", "0: 2.1", "Module 1", "Module 2", "pagoda 0.80", "even: 2.1"} <= written
    assert sum(bool(axes.images) for axes in figure.axes) == 1 + 2 * TOKENS
    first, again = (save_figure(attention_figure(look), tmp_path / f"{i}.png") for i in range(2))
    assert first.read_bytes() == again.read_bytes()


def test_a_map_lies_over_the_view_and_nowhere_else(make_attention_look: MakeLook) -> None:
    look = make_attention_look()
    laid = look.laid(look.modules[0].maps[1], (80, 160))
    rows, columns = np.nonzero(laid)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 39, 60, 79)


def test_what_is_not_there_is_said(make_attention_look: MakeLook) -> None:
    look = make_attention_look(interaction=False)
    with pytest.raises(ConfigError, match="do not attend to each other"):
        attention_figure(look, interaction=True)
    look.trace.heat.clear()
    with pytest.raises(ConfigError, match="pools the map without attention"):
        attention_figure(AttentionLook(look.picture, look.result))


@pytest.fixture
def page_file(make_attention_look: MakeLook, tmp_path: Path) -> Path:
    looks = [make_attention_look("first.jpg"), make_attention_look("/home/somebody/second.jpg", interaction=False)]
    return save_attention_page(looks, tmp_path / "page.html", model="vt")


def test_the_page_holds_every_map_and_refers_to_nothing_else(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    content = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    first, second = content["pictures"]
    assert [module["title"] for module in first["modules"]] == ["Module 1", "Module 2"]
    assert first["modules"][0]["grid"] == list(GRID)
    assert second["modules"][0]["interaction"] is None
    assert "somebody" not in text
    assert "https:" not in text
    with pytest.raises(ConfigError, match="at least one picture"):
        save_attention_page([], page_file)


@pytest.fixture
def opened(open_page: Any, page_file: Path) -> Iterator[Any]:
    with open_page(page_file) as page:
        yield page


def brightest(page: Any) -> list[float]:
    """Where on the map over the picture the brightest pixel lies, as fractions."""
    return page.evaluate("""() => {
      const { width, height } = document.getElementById('heat');
      const copy = Object.assign(document.createElement('canvas'), { width, height });
      const context = copy.getContext('2d', { willReadFrequently: true });
      context.drawImage(document.getElementById('heat'), 0, 0);
      const { data } = context.getImageData(0, 0, width, height);
      let best = -1, at = 0;
      for (let i = 0; i < data.length; i += 4) {
        if (data[i] + data[i + 1] > best) { best = data[i] + data[i + 1]; at = i / 4; }
      }
      return [(at % width) / width, Math.floor(at / width) / height];
    }""")


@pytest.mark.slow
def test_pointing_at_a_token_shows_where_it_was_read(opened: Any) -> None:
    assert opened.locator("#tokens .token").count() == TOKENS
    opened.hover("#token-1")
    # The view is the middle half of the picture, and the second of its four columns begins at three eighths.
    assert brightest(opened) == pytest.approx([0.375, 0], abs=0.01)
    assert "Token 1: at most 8.0 × even; entropy 0.00 of at most 2.08" in opened.text_content("#token")
    opened.check("#interaction")
    opened.hover("#token-0")
    assert brightest(opened) == pytest.approx([0.5, 0], abs=0.01)
    assert "entropy 0.00" in opened.text_content("#token")
    opened.mouse.move(2, 2)
    assert "All tokens together" in opened.text_content("#token")


@pytest.mark.slow
def test_modules_are_stepped_through_and_pictures_chosen(opened: Any) -> None:
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
    opened.click("#pictures button:nth-child(2)")
    assert opened.text_content("#name") == "second.jpg"
    assert opened.is_disabled("#interaction")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: Any) -> Path:
    torch.manual_seed(0)
    model = create_model("vt_resnet18", num_classes=2, **NARROW)
    folder = tmp_path_factory.mktemp("model") / "vt"
    preprocessing = Preprocessing(size=(64, 64))
    return save_checkpoint(folder, model, name="vt_resnet18", preprocessing=preprocessing, labels=("ball", "box"))


def explained(checkpoint: Path, out: Path, *more: str) -> int:
    picture = out.with_suffix(".png")
    Image.effect_noise((90, 64), 60).convert("RGB").save(picture)
    return main(["explain", str(picture), "--model", str(checkpoint), "--out", str(out), *more])


def test_explain_draws_attention_without_being_told(checkpoint: Path, tmp_path: Path) -> None:
    assert explained(checkpoint, tmp_path / "a") == 0
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"a-attention.png"}
    assert explained(checkpoint, tmp_path / "b", "--figure", "all", "--page") == 0
    assert {path.name for path in (tmp_path / "b").iterdir()} == {
        "b-attention.png", "b-interaction.png", "page.html"
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
    assert all(row["pictures"] == 2 and 0 <= row["deletion"] <= 1 for row in rows)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--figure", "stages"), "is a Visual Transformer, of which there is no figure 'stages'"),
        (("--gif",), "--gif runs through stages or keep ratios"),
        (("--radius", "0.1"), "--radius is a SparseFormer's option, and the model is a Visual Transformer"),
        (("--object", "1"), "--object is a detector's option"),
    ],
)
def test_what_means_nothing_here_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: tuple[str, ...], said: str
) -> None:
    assert explained(checkpoint, tmp_path / "a", *asked) == 2
    assert said in capsys.readouterr().err
