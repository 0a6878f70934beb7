from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsevision.errors import ConfigError
from sparsevision.explain import density, share_inside


def naive(points, size, radius, weight):
    height, width = size
    reach = radius * min(size)
    values = np.zeros(size)
    for row in range(height):
        for column in range(width):
            distance = np.hypot(points[:, 0] * width - column - 0.5, points[:, 1] * height - row - 0.5)
            values[row, column] = weight[distance <= reach].sum()
    return values / weight.sum() * height * width / (np.pi * reach**2)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    radius=st.floats(0.02, 1.5),
    count=st.integers(1, 30),
)
def test_it_is_the_naive_sum_over_points(seed, height, width, radius, count):
    draw = np.random.default_rng(seed)
    points, weight = draw.uniform(-0.3, 1.3, (count, 2)), draw.uniform(0.1, 1, count)
    found = density(points, (height, width), radius=radius, weight=weight)
    np.testing.assert_allclose(found, naive(points, (height, width), radius, weight), rtol=1e-5, atol=1e-5)


def test_even_sampling_has_density_one_away_from_the_border():
    side = torch.linspace(0, 1, 202)[1:-1]
    points = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1)
    values = density(points, (60, 60), radius=0.1)
    np.testing.assert_allclose(values[10:-10, 10:-10], 1.0, atol=0.03)


def test_no_points_give_an_empty_map():
    assert density(np.zeros((0, 2)), (4, 5)).tolist() == [[0.0] * 5] * 4


@pytest.mark.parametrize(("size", "radius"), [((0, 4), 0.1), ((4, 4), 0.0), ((4, 4), float("nan"))])
def test_a_map_without_extent_is_refused(size, radius):
    with pytest.raises(ConfigError, match="above 0"):
        density(np.zeros((1, 2)), size, radius=radius)


def test_share_inside_counts_points_in_one_box():
    points = torch.tensor([[0.1, 0.1], [0.5, 0.5], [0.6, 0.9], [1.4, 0.5]])
    assert share_inside(points, torch.tensor([0.4, 0.4, 1.0, 1.0])) == 0.5
    assert share_inside(points, torch.tensor([0.5, 0.5, 0.6, 0.9])) == 0.5  # borders belong to the box


def test_share_inside_pairs_boxes_with_images():
    points = torch.tensor([[[0.1, 0.1]], [[0.9, 0.9]]])[:, None].expand(2, 7, 3, 2)
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 0.5]])
    assert share_inside(points, boxes).tolist() == [1.0, 0.0]
    with pytest.raises(ConfigError, match="2 boxes for the points of 3"):
        share_inside(torch.zeros(3, 1, 2), boxes)
