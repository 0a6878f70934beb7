"""Multiply-adds: of layers whose count is known, and of every published row."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sparsevision.factory import create_model
from sparsevision.measure.cost_table import CostTable, CountedRow, count_rows
from sparsevision.measure.operations import count_macs
from sparsevision.models.published import CostRow, Figure, PublishedCosts, count_parameters
from sparsevision.models.sparse_detr import published as sparse_detr
from sparsevision.models.sparseformer import published as sparseformer
from sparsevision.models.visual_transformer import published as visual_transformer


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
    # An image of 30 GB, were it ever made.
    assert count_macs(model, (3, 50_000, 50_000)).total == 3 * 4 * 9 * 49_998**2
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    if device == "cpu":
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_batch_costs_as_many_times_one_image():
    with torch.device("meta"):
        model = create_model("sparseformer_nano")
    assert count_macs(model, (3, 3, 96, 64)).total == 3 * count_macs(model, (3, 96, 64)).total


def test_mixing_is_the_two_products_of_every_sampling():
    with torch.device("meta"):
        model = create_model("sparseformer_nano", num_tokens=4, num_points=9, feature_channels=16, focusing_repeats=2)
    count = count_macs(model, (3, 64, 64))
    assert count.mixing == 3 * 4 * (9 * 16 * 16 + 9 * 9 * 16)
    assert count.without_mixing == count.total - count.mixing == sum(count.by_kind.values()) - count.mixing
    assert model.sampling_macs == 3 * 4 * 9 * 16 * 4


def table_of(costs: PublishedCosts, *rows: CostRow) -> CostTable:
    return count_rows(replace(costs, rows=rows or costs.rows))


def figure_of(one: CountedRow, name: str) -> Figure:
    return next(figure for figure in one.figures if figure.name == name)


@pytest.mark.slow
def test_every_published_row_agrees():
    table = table_of(sparseformer.COSTS)
    assert [one.row.name for one in table.counted if not one.agrees] == []
    assert len(table.counted) == len({row.name for row in sparseformer.ROWS}) == 37
    assert all(abs(figure_of(one, "sampling G").counted - one.row.stated[-1]) < 6e-5 for one in table.counted)
    assert "37 of 37 rows agree" in table.summary()


@pytest.mark.slow
def test_every_published_row_of_the_visual_transformers_agrees_to_the_unit():
    table = table_of(visual_transformer.COSTS)
    assert [one.row.name for one in table.counted if not one.agrees] == []
    assert len(table.counted) == 24


def test_a_row_that_is_off_is_seen():
    table = table_of(sparseformer.COSTS, replace(sparseformer.ROWS[0], model="sparseformer_nano"))
    assert not table.agrees
    assert "NO" in table.cells()[0]
    assert len(table.cells()[0]) == len(table.columns)
    assert "0 of 1" in table.summary()


def test_parameters_that_are_shared_count_once():
    first = nn.Linear(3, 3, bias=False)
    assert count_parameters(nn.Sequential(first, first)) == 9


@pytest.mark.slow
def test_every_published_row_of_the_detectors_agrees():
    table = table_of(sparse_detr.COSTS)
    assert [one.row for one in table.counted if not one.agrees] == []
    assert {one.row.model for one in table.counted} == set(sparse_detr.PARAMETERS)
    published = [figure_of(one, "published G") for one in table.counted if one.row.stated[-1]]
    assert [figure.stated for figure in published] == [round(figure.counted, 1) for figure in published]
    assert len(published) == 14
    assert f"{len(table.counted)} of {len(table.counted)} rows agree" in table.summary()


def test_a_detector_is_counted_with_its_sampling_its_norms_and_what_only_training_needs():
    (row,) = (row for row in sparse_detr.ROWS if row.model == "sparse_detr_r50_10" and row.stated[-1])
    table = table_of(sparse_detr.COSTS, row)
    assert table.agrees
    (one,) = table.counted
    found = {
        name: figure_of(one, name).counted
        for name in ("trained M", "frozen M", "total G", "with all boxes G", "with encoder heads G")
    }
    assert (found["trained M"], found["frozen M"]) == (41.714805, 0.2224)
    assert sparse_detr.tokens_of((800, 1066)) == 17_821
    heads = 5 * 1783 * (91 * 256 + 2 * 256**2 + 4 * 256)
    assert found["with encoder heads G"] - found["with all boxes G"] == pytest.approx(heads / 1e9)
    # Boxes of the first stage are formed for the 300 queries alone.
    boxes = (17_821 - 300) * (2 * 256**2 + 4 * 256)
    assert found["with all boxes G"] - found["total G"] == pytest.approx(boxes / 1e9)
    # 16 points of 32 numbers for each of 8 heads: a tenth of the tokens in 6 encoder layers, 300 queries in 6 others.
    assert figure_of(one, "sampling G").counted == 4 * 16 * 8 * 32 * 6 * (1783 + 300) / 1e9
    assert "NO" in table_of(sparse_detr.COSTS, replace(row, stated=(*row.stated[:2], 100.0))).cells()[0]


def test_what_sampling_and_norms_produce_is_told_beside():
    class Reads(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            places = images.new_zeros(1, 2, 5, 2)
            return F.layer_norm(F.grid_sample(images, places, align_corners=False), (5,))

    count = count_macs(Reads(), (3, 12, 8))
    assert (count.total, count.sampled, count.normalised) == (0, 3 * 2 * 5, 3 * 2 * 5)
    assert count.by_kind == {}


def test_parts_that_are_never_called_themselves_have_what_is_inside_them() -> None:
    class Stacked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 1)
            self.blocks = nn.ModuleList([nn.Conv2d(4, 4, 1), nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())])

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features = self.stem(images)
            for block in self.blocks:
                features = block(features)
            return features

    count = count_macs(Stacked(), (3, 8, 8))
    assert count.by_part == {"stem": 3 * 4 * 64, "blocks": 4 * 4 * 64 + 4 * 4 * 9 * 36}
    assert sum(count.by_part.values()) == count.total
