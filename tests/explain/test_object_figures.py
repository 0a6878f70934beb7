"""Figures of objects and levels: numbers are the trace's, points lie where it has them, any image can be drawn."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from sparsevision.drawing.boxes import class_colours
from sparsevision.errors import ConfigError
from sparsevision.explain import NothingToDrawError, save_figure
from sparsevision.explain.figures.annotated import annotated_figure
from sparsevision.explain.figures.query import query_figure
from sparsevision.explain.figures.saliency import saliency_figure
from sparsevision.explain.level_overlays import level_colours


def texts(figure: Figure) -> set[str]:
    return {text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))}


def test_the_saliency_figure_compares_what_was_expected_updated_and_read(make_objects) -> None:
    written = texts(saliency_figure(make_objects()))
    assert {"Saliency", "Updated", "Decoder reads", "Level 1: 17 % kept", "Level 2: 0 % kept"} <= written
    assert {"4 of 30 tokens updated (13 %)", "4 of 24", "0 of 6", "73 % of what is read", "1 white, 2 red"} <= written
    assert "keep ratio 0.2 · updated tokens hold 27 % of the decoder's attention" in written
    assert "at most 2 × even" in written


def test_a_detector_that_updates_all_tokens_has_what_is_read_alone(make_objects) -> None:
    written = texts(saliency_figure(make_objects(chooses=False)))
    assert {"All 30 tokens updated", "Decoder reads"} <= written
    assert not {"Saliency", "Updated"} & written


def test_the_query_figure_shows_where_an_objects_query_sampled(make_objects) -> None:
    explanation = make_objects()
    figure = query_figure(explanation, 2)
    assert {"Object 2 of 3: white 0.70", "level 1: 75 % of weight", "level 2: 25 % of weight"} <= texts(figure)
    in_panels = [found for found in figure.findobj(PathCollection) if len(found.get_offsets()) == 3]
    assert len(in_panels) == 4, "two layers, each in the image and in the close-up"
    query = explanation.queries[1]
    heaviest_first = [1, 0, 2]
    for stage, drawn in zip((explanation.stages[0],) * 2 + (explanation.stages[1],) * 2, in_panels, strict=True):
        np.testing.assert_allclose(drawn.get_offsets(), stage.points[query][heaviest_first])
        colours = level_colours(2)[stage.level[query][heaviest_first]]
        np.testing.assert_allclose(drawn.get_facecolors()[:, :3], colours)
        np.testing.assert_allclose(drawn.get_sizes() / drawn.get_sizes().max(), [1, 0.5, 0.5])


def test_the_query_figure_has_the_box_before_and_after_each_layer(make_objects) -> None:
    explanation = make_objects()
    query = explanation.queries[0]
    boxes = [found for found in query_figure(explanation).findobj(Rectangle) if not found.get_fill()]
    white = [found for found in boxes if found.get_edgecolor()[:3] == (1, 1, 1)]
    before = [stage.before[query] for stage in explanation.stages]
    drawn = [found.get_corners()[[0, 2]].flatten() for found in white]
    np.testing.assert_allclose(drawn, [box for box in before for _ in range(2)])


@pytest.mark.parametrize("number", [0, -1, 4])
def test_an_object_that_there_is_not_is_refused(make_objects, number: int) -> None:
    with pytest.raises(ConfigError, match=rf"Object {number} of 'cells.jpg' does not exist: choose one from 1 to 3"):
        query_figure(make_objects(), number)
    with pytest.raises(NothingToDrawError, match=r"Nothing was found in 'cells\.jpg'"):
        query_figure(make_objects(labels=()), 1)


def test_objects_are_numbered_where_one_is_to_be_chosen(make_objects) -> None:
    explanation = make_objects()
    plain = explanation.result.annotate(explanation.image)
    numbered = explanation.result.annotate(explanation.image, numbers=True)
    colour = class_colours(("red",), explanation.result.classes)["red"]
    wide, narrow = (int((np.asarray(image) == colour).all(-1).sum()) for image in (numbered, plain))
    assert wide > narrow
    assert "1 white, 2 red" in texts(annotated_figure(explanation))


@pytest.mark.parametrize("size", [(400, 60), (60, 400), (8, 8)])
@pytest.mark.parametrize("width", [3.3, 6.9])
def test_any_shape_of_image_and_column_can_be_drawn(make_objects, size, width, tmp_path) -> None:
    explanation = make_objects(Image.new("RGB", size, "teal"))
    for draw in (saliency_figure, query_figure, annotated_figure):
        save_figure(draw(explanation, width=width), tmp_path / "f.png", dpi=40)


def test_labels_are_text_whatever_they_hold_and_nothing_found_is_drawn(make_objects, tmp_path) -> None:
    hostile = make_objects(labels=("$\\frac{", "x" * 90, "<b>"), name="$.jpg")
    for draw in (saliency_figure, query_figure, annotated_figure):
        save_figure(draw(hostile), tmp_path / "f.png", dpi=40)
    for draw in (saliency_figure, annotated_figure):
        assert "nothing" in texts(draw(make_objects(labels=())))


def test_the_same_explanation_gives_the_same_bytes(make_objects, tmp_path) -> None:
    first, second = (save_figure(saliency_figure(make_objects()), tmp_path / name) for name in ("a.png", "b.png"))
    assert first.read_bytes() == second.read_bytes()
