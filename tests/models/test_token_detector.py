"""SparseFormer's detector: where it starts, what padding changes, and which token found an object."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from sparsevision import Predictor, create_model
from sparsevision.checkpoints import save_checkpoint
from sparsevision.checkpoints.backbones import fill_backbone
from sparsevision.errors import ConfigError
from sparsevision.explain import figures_for
from sparsevision.inference.explaining import explain_images
from sparsevision.measure.cost_table import count_rows
from sparsevision.models.sparseformer import detector_published
from sparsevision.models.sparseformer.unit import SparseFormerUnit
from sparsevision.types import Preprocessing

SMALL = {
    "num_tokens": 9, "num_queries": 5, "num_points": 4, "feature_channels": 8, "focusing_width": 16,
    "focusing_repeats": 2, "cortex_width": 32, "cortex_depth": 3, "head_width": 8, "num_classes": 2,
}  # fmt: skip


def test_it_starts_from_a_classifier_with_tokens_drawn_anew() -> None:
    torch.manual_seed(0)
    model = create_model("sparseformer_detector_nano", roi_init="anywhere")
    tokens = model.backbone.tokens
    regions, embedding = tokens.roi.detach().clone(), tokens.embedding.detach().clone()
    assert fill_backbone(model, "pretrained") == len(model.backbone.state_dict()) - 2
    assert torch.equal(tokens.roi, regions)
    assert torch.equal(tokens.embedding, embedding)
    shipped = create_model("sparseformer_nano", pretrained=True)
    assert torch.equal(model.backbone.bridge.fc.weight, shipped.bridge.fc.weight)
    sides = regions[:, 2:] - regions[:, :2]
    torch.testing.assert_close(sides, torch.full_like(sides, 0.5))
    centres = regions.view(-1, 2, 2).mean(dim=1)
    assert float(centres.min()) >= 0
    assert float(centres.max()) <= 1
    assert embedding.std() == pytest.approx(1.0, abs=0.05)


def test_a_fresh_detector_answers_with_its_tokens_regions() -> None:
    model = create_model("sparseformer_detector_nano", **SMALL, auxiliary_heads="none").eval()
    images = torch.randn(2, 3, 48, 64)
    with torch.no_grad():
        _, rois, _ = model.backbone.encode(images)
        head = model(images).heads[0]
    assert head.logits.shape == (2, 5, 3)
    torch.testing.assert_close(head.boxes[..., 2:], (rois[..., 2:] - rois[..., :2])[:, :5].abs())


def test_padding_does_not_change_an_image() -> None:
    torch.manual_seed(1)
    model = create_model("sparseformer_detector_nano", **SMALL).eval()
    image = torch.randn(1, 3, 48, 64)
    padded = torch.zeros(1, 3, 80, 96)
    padded[..., :48, :64] = image
    with torch.no_grad():
        alone = model(image).heads[0]
        beside = model(padded, sizes=torch.tensor([[48, 64]])).heads[0]
    # Points near the border read the padded map, where the norm before the pooling is another.
    torch.testing.assert_close(beside.boxes, alone.boxes, atol=0.02, rtol=0)


def test_every_unit_has_a_head_in_training_where_that_is_asked_for() -> None:
    images = torch.randn(1, 3, 48, 64)
    for auxiliary, names in (("none", ["tokens"]), ("cortex", ["tokens", "cortex.1", "cortex.2"])):
        model = create_model("sparseformer_detector_nano", **SMALL, auxiliary_heads=auxiliary)
        assert [head.name for head in model(images).heads] == names
        assert [head.name for head in model.eval()(images).heads] == ["tokens"]


def test_more_detecting_tokens_than_tokens_are_refused() -> None:
    with pytest.raises(ConfigError, match="num_queries is 10, more than the 9 tokens"):
        create_model("sparseformer_detector_nano", **{**SMALL, "num_queries": 10})


def test_regions_that_later_units_adjust_have_no_earlier_heads() -> None:
    orders = [["attention", "adjust", "sample", "ffn"]] * 2
    with pytest.raises(ConfigError, match="only the first cortex unit still adjusts"):
        create_model("sparseformer_detector_nano", **SMALL, cortex_orders=orders)
    create_model("sparseformer_detector_nano", **SMALL, cortex_orders=orders, auxiliary_heads="none")


@pytest.mark.parametrize("name", ["sparseformer_detector_nano", "sparseformer_segmenter_nano"])
def test_the_clamp_of_gradients_follows_the_scale(name: str) -> None:
    options = {key: value for key, value in SMALL.items() if key != "num_queries" or "detector" in name}
    model = create_model(name, **options)
    model.set_gradient_scale(8.0)
    assert {unit.gradient_scale for unit in model.modules() if isinstance(unit, SparseFormerUnit)} == {8.0}


def test_the_early_convolution_learns_slowly_and_vectors_do_not_decay() -> None:
    model = create_model("sparseformer_detector_nano", **SMALL)
    groups = {group.name: group for group in model.parameter_groups()}
    assert {name: (group.lr_scale, group.decay) for name, group in groups.items()} == {
        "early_decay": (0.1, True), "decay": (1.0, True), "early_no_decay": (0.1, False), "no_decay": (1.0, False),
    }  # fmt: skip
    assert "backbone.tokens.roi" in dict(groups["no_decay"].parameters)
    assert sum(len(group.parameters) for group in groups.values()) == len(list(model.parameters()))


def test_the_token_that_found_an_object_is_named(tmp_path: Path) -> None:
    torch.manual_seed(2)
    model = create_model("sparseformer_detector_nano", **SMALL)
    with torch.no_grad():
        model.head.classes.weight.mul_(60)
        model.head.boxes[1].weight.normal_(std=0.3)
    view = Preprocessing(size=(48, 96), fit="short", interpolation="bilinear")
    save_checkpoint(tmp_path / "m", model, name="sparseformer_detector_nano", preprocessing=view, labels=("a", "b"))
    Image.new("RGB", (64, 48), "gray").save(tmp_path / "a.png")
    predictor = Predictor(tmp_path / "m", "cpu")
    [explanation] = explain_images(predictor, [str(tmp_path / "a.png")], threshold=0.34)
    result = explanation.result
    assert len(result.boxes) > 0
    boxes = explanation.trace.regions["boxes"].xyxy * torch.tensor([64, 48, 64, 48])
    for token, box in zip(explanation.queries, result.boxes, strict=True):
        assert token < 5
        torch.testing.assert_close(boxes[token], torch.tensor(box), atol=1e-2, rtol=1e-4)
    # Its points are drawn stage by stage, all alike: unlike a decoder's, they have no weights.
    [query] = [kind for kind in figures_for(explanation.has) if kind.name == "query"]
    figure = query.draw(explanation, object=1)
    sizes = [size for axes in figure.axes for points in axes.collections for size in points.get_sizes()]
    assert 0 < max(sizes) < 100


@pytest.mark.slow
def test_published_costs_are_met() -> None:
    table = count_rows(detector_published.COSTS)
    assert table.agrees, table.cells()
    assert len(table.counted) == 2
