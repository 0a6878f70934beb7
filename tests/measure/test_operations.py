"""Multiply-adds: of layers whose count is known, and of every published row."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sparsevision.factory import create_model
from sparsevision.measure import published, published_detectors
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


@pytest.mark.slow
def test_every_published_row_of_the_detectors_agrees():
    counted = list(published_detectors.recount())
    assert [one.row for one in counted if not one.agrees] == []
    assert {one.row.model for one in counted} == set(published_detectors.PARAMETERS)
    printed = [(one.row.published, round(one.as_published / 1e9, 1)) for one in counted if one.row.published]
    assert [figure for figure, _ in printed] == [ours for _, ours in printed]
    assert len(printed) == 14
    assert f"{len(counted)} of {len(counted)} rows agree" in published_detectors.summary(counted)


def test_a_detector_is_counted_with_its_sampling_its_norms_and_what_only_training_needs():
    (row,) = (row for row in published_detectors.ROWS if row.model == "sparse_detr_r50_10" and row.published)
    (one,) = published_detectors.recount([row])
    assert one.agrees
    assert (one.trained, one.frozen) == (41_714_805, 222_400)
    assert published_detectors.tokens_of((800, 1066)) == 17_821
    assert one.encoder_heads == 5 * 1783 * (91 * 256 + 2 * 256**2 + 4 * 256)
    # 16 points of 32 numbers for each of 8 heads: a tenth of the tokens in 6 encoder layers, 300 queries in 6 others.
    assert one.count.sampled == 16 * 8 * 32 * 6 * (1783 + 300)
    assert published_detectors.cells(one)[-1] == "yes"
    (off,) = published_detectors.recount([replace(row, published=100.0)])
    assert published_detectors.cells(off)[-1] == "NO"
    assert "0 of 1" in published_detectors.summary([off])


def test_what_sampling_and_norms_produce_is_told_beside():
    class Reads(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            places = images.new_zeros(1, 2, 5, 2)
            return F.layer_norm(F.grid_sample(images, places, align_corners=False), (5,))

    count = count_macs(Reads(), (3, 12, 8))
    assert (count.total, count.sampled, count.normalised) == (0, 3 * 2 * 5, 3 * 2 * 5)
    assert count.by_kind == {}
