from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from sparsevision.errors import ConfigError, UnknownNameError
from sparsevision.explain import Explanation
from sparsevision.tasks.labels.result import ClassificationResult
from sparsevision.types import Geometry, Points, Regions, Trace


def one_point(xy: tuple[float, float], geometry: Geometry, image: Image.Image) -> Explanation:
    trace = Trace()
    trace.record("focusing.1", Points(torch.tensor(xy).view(1, 1, 1, 2)))
    trace.record("focusing.1", Regions(torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])))
    result = ClassificationResult(name="p.jpg", labels=("a",), scores=(1.0,), geometry=geometry, trace=trace[0])
    return Explanation(image=image, result=result)


@pytest.mark.parametrize(("corner", "pixel"), [((0, 0), (50, 20)), ((1, 1), (150, 120)), ((0.5, 0.25), (100, 45))])
def test_points_land_where_the_crop_lies_in_the_original(corner, pixel):
    geometry = Geometry((140, 200), (50.0, 20.0, 150.0, 120.0))
    (stage,) = one_point(corner, geometry, Image.new("RGB", (200, 140))).stages
    np.testing.assert_allclose(stage.points[0, 0], pixel)
    np.testing.assert_allclose(stage.regions, [[50, 20, 150, 120]])


def test_a_reduced_image_keeps_the_originals_coordinates():
    geometry = Geometry((1400, 2001), (300.0, 0.0, 1700.0, 1400.0))
    explanation = one_point((1, 1), geometry, Image.new("RGB", (251, 175)))
    assert explanation.size == (2001, 1400)
    np.testing.assert_allclose(explanation.stages[0].points[0, 0], (1700, 1400))


def test_another_image_than_the_predicted_one_is_refused():
    geometry = Geometry((140, 200), (0.0, 0.0, 200.0, 140.0))
    with pytest.raises(ConfigError, match="140 x 200 pixels, but its result was made from 200 x 140"):
        one_point((0, 0), geometry, Image.new("RGB", (140, 200)))


def test_a_density_peaks_where_the_points_are_in_the_original():
    geometry = Geometry((100, 200), (100.0, 0.0, 200.0, 100.0))
    explanation = one_point((0.5, 0.5), geometry, Image.new("RGB", (200, 100)))
    values = explanation.density(explanation.stages[0], (100, 200), radius=0.05)
    assert values[50, 150] > 0
    assert values[:, :140].max() == 0


def test_stages_are_those_that_sampled_in_order_with_readable_titles(make_explanation):
    titles = [stage.title for stage in make_explanation().stages]
    assert titles == ["Focusing 1", "Focusing 2", "Focusing 3", "Focusing 4", "Cortex 1"]


def test_tokens_are_ranked_by_their_response_to_a_class(make_explanation):
    explanation = make_explanation()
    assert explanation.responding("ferry", 3)[0] == 1
    assert explanation.response("lotus")[2] == 10


def test_an_unknown_class_offers_the_nearest(make_explanation):
    with pytest.raises(UnknownNameError, match="nearest are 'pagoda'"):
        make_explanation().response("pagode")


def test_a_result_without_trace_says_how_to_get_one(make_explanation):
    explanation = make_explanation()
    bare = dataclasses.replace(explanation, result=dataclasses.replace(explanation.result, trace=None))
    with pytest.raises(ConfigError, match="trace=True"):
        _ = bare.stages


def test_it_has_what_the_trace_holds_and_the_result_offers(make_explanation, make_objects, make_sweep):
    bare = make_explanation()
    assert bare.has == {"points", "regions", "response", "scores"}
    assert dataclasses.replace(bare, rerun=lambda image: bare).has == bare.has | {"rerun"}
    levels = {"level_maps", "level_maps.read", "points", "regions", "objects", "settings"}
    assert make_objects(chooses=False).has == levels
    assert make_objects().has == levels | {"kept", "level_maps.expected"}
    assert make_sweep().has == make_objects().has | {"control_values"}


def test_regions_before_a_stage_are_those_of_the_trace_before_it(make_explanation, make_objects):
    first, second, *_ = make_explanation().stages
    assert first.before is None
    np.testing.assert_allclose(second.before, first.regions)
    assert make_objects().stages[0].before[4] == pytest.approx([0.55 * 120, 0.3 * 80, 0.95 * 120, 0.7 * 80])
