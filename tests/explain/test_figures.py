from __future__ import annotations

import dataclasses
import io
import warnings

import numpy as np
import pytest
from matplotlib.collections import PatchCollection, PathCollection
from matplotlib.figure import Figure
from PIL import Image

from sparsevision.drawing.palette import token_colours
from sparsevision.explain import NothingToDrawError, save_figure
from sparsevision.explain.figures.disturbed import DISTURBANCES, disturbed_figure
from sparsevision.explain.figures.stages import stages_figure
from sparsevision.explain.figures.tokens import tokens_figure


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def offsets(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(found.get_offsets()) for found in figure.findobj(PathCollection)]


def test_the_stages_figure_draws_every_point_of_every_stage_in_pixels(make_explanation):
    explanation = make_explanation()
    drawn = offsets(stages_figure(explanation))
    assert len(drawn) == 5
    for stage, xy in zip(explanation.stages, drawn, strict=True):
        np.testing.assert_allclose(xy, stage.points.reshape(-1, 2))


def test_points_and_rois_have_their_tokens_colours(make_explanation):
    figure = stages_figure(make_explanation())
    colours = token_colours(25)
    points = figure.findobj(PathCollection)[0].get_facecolors()[:, :3]
    np.testing.assert_allclose(points, np.repeat(colours, 9, 0))
    np.testing.assert_allclose(figure.findobj(PatchCollection)[0].get_edgecolor()[:, :3], colours)


def test_the_stages_figure_names_stages_class_score_and_radius(make_explanation):
    written = texts(stages_figure(make_explanation(), radius=0.08))
    assert {"Focusing 1", "Cortex 1", "pagoda 0.80", "25 tokens × 9 points × 5 stages"} <= set(written)
    assert any("8 % of short side" in text for text in written)


@pytest.mark.parametrize("size", [(400, 60), (60, 400), (8, 8)])
@pytest.mark.parametrize("width", [3.3, 6.9])
def test_any_shape_of_image_and_column_can_be_drawn(make_explanation, size, width, tmp_path):
    save_figure(
        stages_figure(make_explanation(Image.new("RGB", size, "teal")), width=width), tmp_path / "f.png", dpi=40
    )


def test_the_tokens_figure_follows_the_strongest_tokens(make_explanation):
    explanation = make_explanation()
    written = texts(tokens_figure(explanation, "ferry", top_tokens=2))
    second = explanation.responding("ferry", 2)[1]
    assert {"Token 1", "logit +10.0", f"Token {second}", "predicted: pagoda 0.80"} <= set(written)


def test_without_classes_there_are_no_tokens_of_one(make_explanation):
    with pytest.raises(NothingToDrawError, match="an embedding and no classes"):
        tokens_figure(make_explanation(labels=()))


def test_without_regions_the_stages_figure_has_points_and_density(make_explanation):
    explanation = make_explanation()
    explanation.trace.regions.clear()
    written = set(texts(stages_figure(explanation)))
    assert {"Points", "Density"} <= written
    assert "RoIs" not in written


def test_the_disturbed_figure_has_a_row_for_each_version(make_explanation):
    explanation = dataclasses.replace(make_explanation(), rerun=make_explanation)
    assert {"Original", "Erased", "Zero-padded", "Reflected"} <= set(texts(disturbed_figure(explanation)))


def test_labels_are_text_whatever_they_hold(make_explanation, tmp_path):
    explanation = make_explanation(labels=("$\\frac{", "<b>", "x" * 90), name="$.jpg")
    save_figure(stages_figure(explanation), tmp_path / "a.png", dpi=40)
    save_figure(tokens_figure(explanation, "$\\frac{"), tmp_path / "b.png", dpi=40)


def test_the_same_explanation_gives_the_same_bytes(make_explanation, tmp_path):
    first = save_figure(stages_figure(make_explanation()), tmp_path / "a.png").read_bytes()
    assert save_figure(stages_figure(make_explanation()), tmp_path / "b.png").read_bytes() == first
    assert Image.open(io.BytesIO(first)).size[0] == round(6.9 * 220)


def test_disturbances_leave_the_original_alone_and_are_repeatable():
    image = Image.effect_noise((60, 40), 50).convert("RGB")
    before = image.tobytes()
    for disturb in DISTURBANCES.values():
        assert disturb(image).tobytes() == disturb(image).tobytes()
    assert image.tobytes() == before


def test_padding_surrounds_the_image_and_erasing_blackens_a_part():
    image = Image.new("RGB", (50, 30), "white")
    for name in ("zero-padded", "reflected"):
        padded = DISTURBANCES[name](image)
        assert padded.size == (90, 54)
        assert padded.crop((20, 12, 70, 42)).tobytes() == image.tobytes()
    assert DISTURBANCES["zero-padded"](image).getpixel((0, 0)) == (0, 0, 0)
    assert DISTURBANCES["reflected"](image).getpixel((0, 0)) == (255, 255, 255)
    black = (np.asarray(DISTURBANCES["erased"](image)) == 0).mean()
    assert 0.03 < black < 0.2


def test_letters_that_the_font_lacks_are_told_once(make_explanation, tmp_path):
    figure = stages_figure(make_explanation())
    figure.text(0, 0, "\ue123 \ue124 \ue123")
    with pytest.warns(UserWarning, match="^The font of figures lacks the letters \ue123\ue124.$") as told:
        save_figure(figure, tmp_path / "a.png", dpi=40)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(figure, tmp_path / "b.png", dpi=40)
