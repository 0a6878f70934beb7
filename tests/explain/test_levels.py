"""Levels of a trace in pixels of the image: without padding, with shares; queries of objects."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sparsevision.errors import ConfigError
from sparsevision.explain.level_overlays import kept_pixels, merged_reading, merged_saliency
from sparsevision.types import Geometry, Kept, LevelMaps, Trace


def test_levels_hold_what_was_updated_expected_and_read(make_objects) -> None:
    levels = make_objects().levels
    fine, coarse = levels.each
    assert fine.kept.nonzero()[0].tolist() == [0, 1, 1, 1]
    assert fine.kept.nonzero()[1].tolist() == [0, 1, 2, 3]
    assert (fine.share, coarse.share) == (4 / 24, 0)
    assert (levels.kept, levels.total) == (4, 30)
    np.testing.assert_allclose(fine.expected, np.where(fine.kept, 0.9, 0.1), rtol=1e-6)
    # 4 of 24 cells are read three times, the others once, and six coarse ones twice each.
    assert levels.captured == pytest.approx(12 / (12 + 20 + 12))
    assert levels.read_of(coarse) == pytest.approx(12 / 44)


def test_padding_is_cut_off(make_objects) -> None:
    ratios = torch.tensor([[[0.5, 0.75], [0.34, 0.5]]])
    trace = make_objects().trace
    padded = Trace()
    padded.points, padded.regions = trace.points, trace.regions
    padded.level_maps = {name: LevelMaps(maps.values, maps.role, ratios[0]) for name, maps in trace.level_maps.items()}
    kept = trace.kept["encoder"]
    padded.kept = {"encoder": Kept(kept.indices, kept.grids, ratios[0])}
    levels = make_objects(trace=padded).levels
    assert [level.kept.shape for level in levels.each] == [(3, 3), (1, 1)]
    assert (levels.kept, levels.total) == (3, 10), "cell 9 lies in the padding"
    assert levels.each[0].read.sum() == 3 * 3 + 6


def test_the_query_of_an_object_is_the_one_that_said_its_box(make_objects) -> None:
    assert make_objects().queries == (4, 3, 2)
    doubled = make_objects(labels=("red",))
    assert doubled.queries == (4,)


def test_cells_lie_over_the_part_of_the_image_that_was_seen(make_objects) -> None:
    right_half = Geometry((100, 200), (100.0, 0.0, 200.0, 100.0))
    explanation = make_objects(Image.new("RGB", (200, 100), "white"), geometry=right_half)
    laid = explanation.laid(np.arange(1, 5).reshape(2, 2), (10, 20))
    assert not laid[:, :10].any()
    assert [laid[2, 12], laid[2, 17], laid[7, 12], laid[7, 17]] == [1, 2, 3, 4]
    shown = kept_pixels(explanation, [np.array([[True, False]])], explanation.image)
    assert shown[50, 120].tolist() == [255, 255, 255]
    assert shown[50, 170].max() < 140
    assert shown[50, 50].max() < 140
    both = kept_pixels(explanation, [np.array([[True, False]]), np.array([[True, True]])], explanation.image)
    assert both[50, 120].tolist() == [255, 255, 255]
    assert shown[50, 170].max() < both[50, 170].min() < 255


def test_reading_over_all_levels_is_told_in_times_of_an_even_spread(make_objects) -> None:
    explanation = make_objects()
    together = merged_reading(explanation)
    assert together.mean() == pytest.approx(1, rel=0.02)
    # An updated cell of the fine level, 3 of 44 on a 24th of the image, over a coarse one, 2 of 44 on a sixth.
    assert together.max() == pytest.approx((3 * 24 + 2 * 6) / 44)


def test_saliency_over_all_levels_is_their_mean(make_objects) -> None:
    explanation = make_objects()
    merged = merged_saliency(explanation)
    fine, coarse = (explanation.laid(level.expected, merged.shape) for level in explanation.levels.each)
    assert merged == pytest.approx((fine + coarse) / 2)


def test_what_was_found_is_told_in_the_models_order(make_objects) -> None:
    assert make_objects().answer() == "1 white, 2 red"
    assert make_objects(labels=()).answer() == "nothing"
    assert make_objects().setting == "keep ratio 0.2"


def test_a_trace_without_what_is_drawn_is_refused(make_objects) -> None:
    explanation = make_objects(trace=make_objects().trace)
    explanation.trace.level_maps.clear()
    with pytest.raises(ConfigError, match=r"no maps of how much was read.*trace=True"):
        assert explanation.levels
