"""The page of objects and levels: its content, and in a browser its buttons, sliders, keys and pointer."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sparsevision.errors import ConfigError
from sparsevision.explain import save_page

HOSTILE_NAME = """it's "><img src=x onerror='window.broken = 3'><script>window.broken = 1<!--.jpg"""
HOSTILE_LABEL = "</script><img src=x onerror='window.broken = 2'>"


@pytest.fixture
def page_file(make_sweep, make_objects, tmp_path) -> Path:
    sweeps = [
        make_sweep(Image.effect_noise((240, 160), 60).convert("RGB"), name="first.jpg"),
        make_sweep(name=f"/home/somebody/{HOSTILE_NAME}", labels=(HOSTILE_LABEL, "red")),
        make_objects(name="dense.jpg", labels=(), chooses=False),
    ]
    return save_page(sweeps, tmp_path / "page.html", title="Where & <why>")


def content(path: Path) -> dict[str, Any]:
    return json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"))[1])


def test_the_page_holds_every_run_and_refers_to_nothing_else(page_file) -> None:
    text = page_file.read_text(encoding="utf-8")
    references = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s)>]+)""", text.split('<script type="appl')[0])
    assert set(references) == {"data:,"}
    assert text.count("<script") == 2
    assert "https:" not in text
    assert "somebody" not in text
    first, _, dense = content(page_file)["images"]
    assert [run["value"] for run in first["runs"]] == ["0.1", "0.2", "1"]
    facts = [run["facts"] for run in first["runs"]]
    assert [each["updated tokens"] for each in facts] == ["1 of 30", "4 of 30", "24 of 30"]
    assert [each["result"] for each in facts] == ["1 white, 2 red"] * 2 + ["1 white, 1 red"]
    assert facts[0]["time"] == "25 ms"
    assert (first["start"], first["control"]) == (1, "Keep ratio")
    assert dense["control"] is None
    [run] = dense["runs"]
    assert run["panels"]["levels"]["levels"][0]["expected"] is None
    assert "hold of what is read" not in run["facts"]
    settings = {"name": "Keep ratio", "value": "0.2", "about": "share of the tokens"}
    assert run["panels"]["settings"]["settings"] == [settings]


def test_maps_and_chosen_cells_are_those_of_the_trace(page_file, make_objects) -> None:
    fine = content(page_file)["images"][0]["runs"][1]["panels"]["levels"]["levels"][0]
    level = make_objects().levels.each[0]
    chosen = np.unpackbits(np.frombuffer(base64.b64decode(fine["chosen"]), np.uint8))[:24].reshape(4, 6)
    assert (chosen == level.kept).all()
    read = np.frombuffer(base64.b64decode(fine["read"]), np.uint8).reshape(4, 6)
    np.testing.assert_allclose((read / 255) ** 2, level.read / 3, atol=0.01)


def test_a_page_needs_an_image(tmp_path) -> None:
    with pytest.raises(ConfigError, match="at least one image"):
        save_page([], tmp_path / "page.html")


@pytest.fixture
def opened(open_page, page_file) -> Iterator[Any]:
    with open_page(page_file) as page:
        yield page


def box_of(page: Any, number: int) -> list[float]:
    sides = "node => ['x', 'y', 'width', 'height'].map(key => +node.getAttribute(key))"
    return page.eval_on_selector(f'#overlay rect.object[data-object="{number}"]', sides)


def lit(page: Any) -> list[str]:
    return page.eval_on_selector_all("#overlay rect.object.lit", "nodes => nodes.map(node => node.dataset.object)")


def points(page: Any) -> list[list[float]]:
    return page.eval_on_selector_all(
        "#overlay circle.point", "nodes => nodes.map(node => [+node.getAttribute('cx'), +node.getAttribute('cy')])"
    )


@pytest.mark.slow
def test_the_layers_are_stepped_through_and_boxes_are_the_traces(opened, make_objects) -> None:
    explanation = make_objects(Image.new("RGB", (240, 160)))
    assert opened.text_content("#caption") == "Decoder 2 (2 of 2)"
    for stage in (explanation.stages[1], explanation.stages[0]):
        x0, y0, x1, y1 = stage.regions[explanation.queries[0]]
        assert box_of(opened, 0) == pytest.approx([x0, y0, x1 - x0, y1 - y0], abs=0.1)
        opened.keyboard.press("ArrowLeft")
    assert opened.text_content("#caption") == "Decoder 1 (1 of 2)"
    assert opened.is_disabled("#back")
    opened.click("#play")
    opened.get_by_text("(2 of 2)").wait_for(timeout=60_000)
    assert opened.get_attribute("#play", "aria-label") == "Play the layers"


@pytest.mark.slow
def test_a_chosen_objects_query_shows_where_it_looked(opened, make_objects) -> None:
    explanation = make_objects(Image.new("RGB", (240, 160)))
    assert points(opened) == []
    opened.click("#object-1")
    opened.mouse.move(2, 2)
    assert lit(opened) == ["1"]
    expected = explanation.stages[1].points[explanation.queries[1]]
    assert sorted(points(opened)) == pytest.approx(np.array(sorted(expected.tolist())), abs=0.1)
    assert opened.get_attribute("#overlay rect.before", "visibility") == "visible"
    assert "white" in opened.text_content("#object")
    opened.keyboard.press("Escape")
    assert points(opened) == []


@pytest.mark.slow
def test_the_slider_runs_through_the_keep_ratios_and_follows_the_object(opened) -> None:
    assert opened.text_content("#value") == "0.2"
    assert "updated tokens: 4 of 30" in opened.text_content("#facts")
    opened.click("#object-1")
    opened.mouse.move(2, 2)
    opened.fill("#control", "2")
    assert opened.text_content("#value") == "1"
    assert "updated tokens: 24 of 30" in opened.text_content("#facts")
    assert opened.text_content("#objects-title") == "Objects: 2"
    assert lit(opened) == ["1"]
    opened.keyboard.press("Escape")
    assert lit(opened) == []
    opened.click("#runs tbody tr:nth-child(1)")
    assert opened.input_value("#control") == "0"
    assert opened.text_content("#found") == "1 white, 2 red"
    opened.keyboard.press("+")
    assert opened.text_content("#value") == "0.2"


@pytest.mark.slow
def test_pointing_finds_the_smallest_box_and_the_keyboard_the_list(opened, make_objects) -> None:
    x, y, width, height = box_of(opened, 2)
    frame = opened.locator("#view").bounding_box()
    left = frame["x"] + (x + 0.1 * width) / 240 * frame["width"]
    opened.mouse.move(left, frame["y"] + (y + height / 2) / 160 * frame["height"])
    assert lit(opened) == ["2"]
    opened.mouse.move(2, 2)
    opened.focus("#objects")
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("ArrowDown")
    assert lit(opened) == ["1"]
    assert opened.get_attribute("#objects", "aria-activedescendant") == "object-1"


@pytest.mark.slow
def test_the_grounds_show_what_was_updated_expected_and_read(opened) -> None:
    def pixels() -> np.ndarray:
        # From a copy: reading the page's own canvas often would be remarked upon.
        values = opened.evaluate(
            """() => { const canvas = document.getElementById("level-map"), copy = document.createElement("canvas");
            [copy.width, copy.height] = [canvas.width, canvas.height];
            const context = copy.getContext("2d", { willReadFrequently: true });
            context.drawImage(canvas, 0, 0);
            return [copy.width, copy.height, [...context.getImageData(0, 0, copy.width, copy.height).data]]; }"""
        )
        return np.array(values[2]).reshape(values[1], values[0], 4)

    assert opened.locator("#level-map").is_hidden()
    opened.check("input[value=chosen]")
    shown = pixels()
    veiled = np.array([shown[40 + 80 * row, 40 + 80 * column, 3] for row in range(4) for column in range(6)])
    # Of two levels one was updated there, of the other nothing.
    assert np.flatnonzero(veiled == 95).tolist() == [0, 7, 8, 9]
    assert (veiled == 190).sum() == veiled.size - 4
    opened.select_option("#level", "0")
    assert pixels()[40, 40, 3] == 0
    opened.check("input[value=read]")
    bright = pixels()[..., :3].sum(-1)
    assert bright[40, 40] == bright.max() > bright[40, 120]
    assert "How much the decoder read" in opened.text_content("#level-about")


@pytest.mark.slow
def test_names_and_labels_stay_text_and_a_dense_model_has_no_slider(opened) -> None:
    opened.click("#images button:nth-child(2)")
    assert opened.text_content("#name") == HOSTILE_NAME
    assert HOSTILE_LABEL in opened.text_content("#object-0")
    assert opened.locator("body img[src=x]").count() == 0
    opened.click("#images button:nth-child(3)")
    assert opened.locator("#control-row").is_hidden()
    assert opened.text_content("#object") == "Nothing was found in this run."
    assert opened.is_disabled("input[value=expected]")
