"""What a detector's trace says, in pixels of the picture: levels without padding, queries of objects, shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sparsevision.errors import ConfigError
from sparsevision.explain.detection_drawing import kept_pixels, merged_attention, merged_saliency
from sparsevision.types import Geometry, Heat, Kept, Trace


def test_levels_hold_what_was_updated_expected_and_read(make_detection_look) -> None:
    look = make_detection_look()
    fine, coarse = look.levels
    assert fine.kept.nonzero()[0].tolist() == [0, 1, 1, 1]
    assert fine.kept.nonzero()[1].tolist() == [0, 1, 2, 3]
    assert (fine.share, coarse.share) == (4 / 24, 0)
    assert look.kept == (4, 30)
    np.testing.assert_allclose(fine.saliency, np.where(fine.kept, 0.9, 0.1), rtol=1e-6)
    # 4 of 24 cells are read three times, the others once, and six coarse ones twice each.
    assert look.captured == pytest.approx(12 / (12 + 20 + 12))
    assert look.read_of(coarse) == pytest.approx(12 / 44)


def test_padding_is_cut_off(make_detection_look) -> None:
    ratios = torch.tensor([[[0.5, 0.75], [0.34, 0.5]]])
    trace = make_detection_look().trace
    padded = Trace()
    padded.points, padded.regions = trace.points, trace.regions
    padded.heat = {name: Heat(heat.values, ratios[0]) for name, heat in trace.heat.items()}
    kept = trace.kept["encoder"]
    padded.kept = {"encoder": Kept(kept.indices, kept.grids, ratios[0])}
    look = make_detection_look(trace=padded)
    assert [level.kept.shape for level in look.levels] == [(3, 3), (1, 1)]
    assert look.kept == (3, 10), "cell 9 lies in the padding"
    assert look.levels[0].attention.sum() == 3 * 3 + 6


def test_the_query_of_an_object_is_the_one_that_said_its_box(make_detection_look) -> None:
    assert make_detection_look().queries == (4, 3, 2)
    doubled = make_detection_look(labels=("red",))
    assert doubled.queries == (4,)
    assert doubled.proposals[4] == pytest.approx([0.55 * 120, 0.3 * 80, 0.95 * 120, 0.7 * 80])


def test_cells_lie_over_the_part_of_the_picture_that_was_seen(make_detection_look) -> None:
    right_half = Geometry((100, 200), (64, 64), (100.0, 0.0, 200.0, 100.0))
    look = make_detection_look(Image.new("RGB", (200, 100), "white"), geometry=right_half)
    laid = look.laid(np.arange(1, 5).reshape(2, 2), (10, 20))
    assert not laid[:, :10].any()
    assert [laid[2, 12], laid[2, 17], laid[7, 12], laid[7, 17]] == [1, 2, 3, 4]
    shown = kept_pixels(look, [np.array([[True, False]])], look.picture)
    assert shown[50, 120].tolist() == [255, 255, 255]
    assert shown[50, 170].max() < 140
    assert shown[50, 50].max() < 140
    both = kept_pixels(look, [np.array([[True, False]]), np.array([[True, True]])], look.picture)
    assert both[50, 120].tolist() == [255, 255, 255]
    assert shown[50, 170].max() < both[50, 170].min() < 255


def test_reading_over_all_levels_is_told_in_times_of_an_even_spread(make_detection_look) -> None:
    look = make_detection_look()
    together = merged_attention(look)
    assert together.mean() == pytest.approx(1, rel=0.02)
    # An updated cell of the fine level, 3 of 44 on a 24th of the picture, over a coarse one, 2 of 44 on a sixth.
    assert together.max() == pytest.approx((3 * 24 + 2 * 6) / 44)


def test_saliency_over_all_levels_is_their_mean(make_detection_look) -> None:
    look = make_detection_look()
    merged = merged_saliency(look)
    fine, coarse = (look.laid(level.saliency, merged.shape) for level in look.levels)
    assert merged == pytest.approx((fine + coarse) / 2)


def test_what_was_found_is_told_in_the_models_order(make_detection_look) -> None:
    assert make_detection_look().found == "1 white, 2 red"
    assert make_detection_look(labels=()).found == "nothing"
    assert make_detection_look().setting == "keep ratio 0.2"


def test_a_trace_without_what_is_drawn_is_refused(make_detection_look) -> None:
    look = make_detection_look(trace=make_detection_look().trace)
    look.trace.heat.clear()
    with pytest.raises(ConfigError, match=r"does not say what the decoder read.*trace=True"):
        assert look.levels
