from __future__ import annotations

import numpy as np

from sparsevision.drawing.palette import _DEUTAN, _linear, _oklab, hexadecimal, token_colours


def least_distance(seen):
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    return apart[~np.eye(len(seen), dtype=bool)].min()


def test_a_hundred_tokens_have_a_hundred_distinct_colours():
    colours = token_colours(100)
    assert len(set(hexadecimal(colours))) == 100
    # About 0.02 is a just noticeable difference in OKLab.
    assert least_distance(_oklab(_linear(colours))) > 0.03


def test_a_dozen_tokens_differ_for_deuteranopes_too():
    seen = _oklab(np.clip(_linear(token_colours(12)) @ _DEUTAN.T, 0, 1))
    assert least_distance(seen) > 0.02


def test_colours_stand_out_on_a_dimmed_image():
    assert _oklab(_linear(token_colours(200)))[:, 0].min() > 0.6


def test_more_tokens_do_not_recolour_the_first():
    np.testing.assert_array_equal(token_colours(49), token_colours(600)[:49])
