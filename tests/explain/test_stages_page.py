"""The page of sampling stages: its content, and in a browser its buttons, keys, slider and pointer."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sparsevision.errors import ConfigError
from sparsevision.explain import save_page

HOSTILE_NAME = """it's "><img src=x onerror='window.broken = 3'><script>window.broken = 1<!--.jpg"""
HOSTILE_LABEL = "</script><img src=x onerror='window.broken = 2'>"


@pytest.fixture
def page_file(make_explanation, tmp_path) -> Path:
    explanations = [
        make_explanation(Image.effect_noise((240, 160), 60).convert("RGB"), name="first.jpg"),
        make_explanation(name=f"/home/somebody/{HOSTILE_NAME}", labels=(HOSTILE_LABEL, "ferry", "lotus")),
    ]
    return save_page(explanations, tmp_path / "page.html", title="Where & <why>")


def test_the_page_holds_everything_and_refers_to_nothing_else(page_file):
    text = page_file.read_text(encoding="utf-8")
    markup = text.split('<script type="application')[0]
    references = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s)>]+)""", markup)
    assert set(references) == {"data:,"}
    assert "<title>Where &amp; &lt;why&gt;</title>" in text
    assert text.count("<script") == 2
    assert "http:" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https:" not in text
    assert "somebody" not in text


def test_a_page_needs_an_image(tmp_path):
    with pytest.raises(ConfigError, match="at least one image"):
        save_page([], tmp_path / "page.html")


def test_an_explanation_without_response_or_regions_still_makes_a_page(make_explanation, tmp_path):
    explanation = make_explanation()
    explanation.trace.response.clear()
    explanation.trace.regions.clear()
    text = save_page([explanation], tmp_path / "page.html").read_text(encoding="utf-8")
    content = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    panel = content["images"][0]["runs"][0]["panels"]["stages"]
    assert panel["responses"] == []
    assert panel["stages"][0]["regions"] is None


@pytest.fixture
def opened(open_page, page_file) -> Iterator[Any]:
    with open_page(page_file) as page:
        yield page


def drawn(page: Any, token: int = 0) -> str:
    return page.get_attribute(f'#overlay path.points[data-token="{token}"]', "d")


def lit(page: Any) -> list[str]:
    return page.eval_on_selector_all("#overlay .lit", "nodes => nodes.map(node => node.dataset.token)")


def first_point(path: str) -> tuple[float, float]:
    x, y = re.match(r"M(\S+) (\S+?)h0", path).groups()
    return float(x), float(y)


@pytest.mark.slow
def test_buttons_keys_and_slider_step_through_the_stages(opened):
    seen = [drawn(opened)]
    opened.click("#next")
    seen.append(drawn(opened))
    opened.keyboard.press("ArrowRight")
    seen.append(drawn(opened))
    assert "Focusing 3 (3 of 5)" in opened.text_content("#caption")
    opened.fill("#slider", "4")
    seen.append(drawn(opened))
    assert opened.get_attribute("#slider", "aria-valuetext") == "Cortex 1"
    assert opened.is_disabled("#next")
    opened.click("#strip button:nth-child(4)")
    seen.append(drawn(opened))
    assert len(set(seen)) == 5
    opened.keyboard.press("ArrowLeft")
    assert drawn(opened) == seen[2]


@pytest.mark.slow
def test_points_are_drawn_where_the_trace_has_them(opened, make_explanation):
    stage = make_explanation(Image.new("RGB", (240, 160))).stages[0]
    assert first_point(drawn(opened, 7)) == pytest.approx(stage.points[7, 0], abs=0.1)
    box = opened.eval_on_selector(
        '#overlay rect.region[data-token="7"]', "node => ['x', 'y', 'width', 'height'].map(k => +node.getAttribute(k))"
    )
    x0, y0, x1, y1 = stage.regions[7]
    assert box == pytest.approx([x0, y0, x1 - x0, y1 - y0], abs=0.1)


@pytest.mark.slow
def test_hovering_a_token_lights_its_region_and_points_in_all_stages(opened):
    opened.hover("#token-7")
    assert lit(opened) == ["7", "7"]
    assert opened.locator("#strip rect.region.lit").count() == 5
    assert opened.locator("#strip path.points.lit").count() == 5
    assert opened.locator('#overlay rect.region.lit[data-token="7"]').is_visible()
    assert "Token 7 alone answers pagoda" in opened.text_content("#token")
    opened.mouse.move(2, 2)
    assert lit(opened) == []


@pytest.mark.slow
def test_pointing_into_the_image_finds_the_token_and_a_click_keeps_it(opened):
    x, y = first_point(drawn(opened, 12))
    frame = opened.locator("#view").bounding_box()
    where = (frame["x"] + x / 240 * frame["width"], frame["y"] + y / 160 * frame["height"])
    opened.mouse.move(*where)
    assert lit(opened) == ["12", "12"]
    opened.mouse.click(*where)
    opened.mouse.move(2, 2)
    assert lit(opened) == ["12", "12"]
    opened.keyboard.press("Escape")
    assert lit(opened) == []


@pytest.mark.slow
def test_the_keyboard_alone_reaches_tokens_and_playing(opened):
    opened.focus("#tokens")
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("ArrowDown")
    second = opened.locator("#tokens .token").nth(1).get_attribute("data-entry")
    assert lit(opened) == [second, second]
    assert opened.get_attribute("#tokens", "aria-activedescendant") == f"token-{second}"
    opened.keyboard.press("ArrowRight")
    assert "2 of 5" in opened.text_content("#caption")
    opened.keyboard.press("Space")
    opened.get_by_text("(5 of 5)").wait_for(timeout=60_000)
    assert opened.get_attribute("#play", "aria-label") == "Play the stages"


@pytest.mark.slow
def test_choosing_a_class_reorders_the_tokens(opened):
    assert opened.locator("#tokens .token").first.get_attribute("data-entry") == "0"
    opened.select_option("#class", "lotus")
    assert opened.locator("#tokens .token").first.get_attribute("data-entry") == "2"


@pytest.mark.slow
def test_density_is_drawn_on_request_and_changes_with_the_stage(opened):
    def pixels() -> str:
        return opened.evaluate("document.getElementById('density').toDataURL()")

    assert not opened.is_visible("#density")
    opened.check("#show-density")
    first = pixels()
    opened.click("#next")
    assert pixels() != first
    assert "Top-hat kernel, radius 5 %" in opened.text_content("#kernel")


@pytest.mark.slow
def test_hostile_names_are_shown_as_text(opened):
    opened.click("#images button:nth-child(2)")
    assert opened.text_content("#name") == HOSTILE_NAME
    assert opened.text_content("#classes .label >> nth=0") == HOSTILE_LABEL
    assert opened.locator("body img[src=x]").count() == 0


@pytest.mark.slow
def test_dark_and_light_can_be_switched(opened):
    def ground() -> str:
        return opened.evaluate("getComputedStyle(document.body).backgroundColor")

    light = ground()
    opened.click("#theme")
    assert ground() != light


@pytest.mark.slow
def test_the_density_in_the_page_is_the_figures(opened, make_explanation):
    explanation = make_explanation(Image.new("RGB", (240, 160)))
    opened.check("#show-density")
    most = max(explanation.density(stage, (133, 200), 0.05).max() for stage in explanation.stages)
    assert float(opened.text_content("#most").split()[0]) == pytest.approx(most, rel=0.05)


def test_explanations_are_left_as_they_were(make_explanation, tmp_path):
    explanation = make_explanation()
    before = dataclasses.replace(explanation)
    save_page([explanation], tmp_path / "page.html")
    assert explanation == before
