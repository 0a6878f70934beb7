"""Multiply-adds: of layers whose count is known, and of every published row."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sparsevision.factory import create_model
from sparsevision.measure import published
from sparsevision.measure.operations import count_macs, count_parameters, sampling_of


class Attention(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = images.flatten(2)
        return F.scaled_dot_product_attention(tokens, tokens, tokens)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), 3 * 8 * 9 * 6 * 4),
        (nn.Linear(8, 5), 3 * 12 * 8 * 5),
        # Scores and weighted sum: 12 x 12 products of width 96 / 12 each, for each of 3 rows of the batch's channels.
        (Attention(), 2 * 3 * 3 * 96),
        (nn.Sequential(nn.Flatten(2), nn.LayerNorm(96), nn.GELU()), 0),
    ],
)
def test_known_layers_have_their_known_count(layer: nn.Module, expected: int):
    assert count_macs(layer, (3, 12, 8)).total == expected


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_counting_computes_nothing_and_leaves_the_model_alone(device: str):
    with torch.device(device):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    # A picture of 30 GB, were it ever made.
    assert count_macs(model, (3, 50_000, 50_000)).total == 3 * 4 * 9 * 49_998**2
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    if device == "cpu":
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_batch_costs_as_many_times_one_picture():
    with torch.device("meta"):
        model = create_model("sparseformer_nano")
    assert count_macs(model, (3, 3, 96, 64)).total == 3 * count_macs(model, (3, 96, 64)).total


def test_mixing_is_the_two_products_of_every_sampling():
    with torch.device("meta"):
        model = create_model("sparseformer_nano", num_tokens=4, num_points=9, feature_channels=16, focusing_repeats=2)
    count = count_macs(model, (3, 64, 64))
    assert count.mixing == 3 * 4 * (9 * 16 * 16 + 9 * 9 * 16)
    assert count.without_mixing == count.total - count.mixing == sum(count.by_kind.values()) - count.mixing
    assert sampling_of(model) == 3 * 4 * 9 * 16 * 4


def test_every_published_row_agrees():
    counted = list(published.recount())
    assert [one.row.name for one in counted if not one.agrees] == []
    assert len(counted) == len({row.name for row in published.ROWS}) == 37
    assert all(abs(one.sampling / 1e9 - one.row.sampling) < 6e-5 for one in counted)
    assert "37 of 37 rows agree" in published.summary(counted)


def test_a_row_that_is_off_is_seen():
    row = published.Row("T1 T", "sparseformer_nano", 1, 2.0, 2.178, 0.112, 0.0034)
    (one,) = published.recount([row])
    assert not one.agrees
    assert published.cells(one)[-1] == "NO"
    assert "0 of 1" in published.summary([one])


def test_parameters_that_are_shared_count_once():
    first = nn.Linear(3, 3, bias=False)
    assert count_parameters(nn.Sequential(first, first)) == 9
