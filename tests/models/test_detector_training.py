"""What a detector's training may add: groups, disturbed objects, looking forward twice, a choice learned from boxes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevision import create_model
from sparsevision.errors import ConfigError
from sparsevision.measure.operations import count_macs
from sparsevision.models.sparse_detr.config import SparseDETRConfig
from sparsevision.models.sparse_detr.network import SparseDETR
from sparsevision.models.sparse_detr.selection import dense_attention_map, salience, salience_losses, without_ties
from sparsevision.models.sparse_detr.training_queries import disturbed_objects
from sparsevision.outputs import DetectionHead
from sparsevision.tasks.detection.criterion import VARIFOCAL_ALPHA, SetCriterion
from sparsevision.tasks.detection.matching import GAMMA

SMALL: dict[str, Any] = {
    "backbone": "test_efficientnet", "backbone_options": (), "encoder_depth": 2, "decoder_depth": 3, "ffn_width": 32,
    "width": 64, "num_queries": 7, "num_classes": 3, "dropout": 0.0, "denoising": 0,
}  # fmt: skip
IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
TARGETS = [
    {"labels": torch.tensor([0, 2, 1]),
     "boxes": torch.tensor([[0.3, 0.3, 0.2, 0.2], [0.7, 0.6, 0.4, 0.3], [0.5, 0.5, 0.9, 0.9]])},
    {"labels": torch.tensor([1]), "boxes": torch.tensor([[0.5, 0.4, 0.1, 0.3]])},
]  # fmt: skip


def network(**options: Any) -> SparseDETR:
    torch.manual_seed(0)
    model = create_model("sparse_detr_nano", **SMALL | options)
    assert isinstance(model, SparseDETR)
    for head in model.decoder_heads:  # fresh ones do not move boxes, and no gradient would pass them
        torch.nn.init.normal_(head.box[-1].weight, std=0.1)
    return model.train()


def losses(model: SparseDETR, targets: list[dict[str, Tensor]] | None = None) -> tuple[dict[str, Tensor], Any]:
    torch.manual_seed(1)
    output = model(IMAGES, targets=targets)
    found = SetCriterion()(output, TARGETS, torch.tensor(4.0), torch.tensor(2.0))
    return found | output.auxiliary_losses, output


@pytest.mark.parametrize("added", [{"query_groups": 3}, {"denoising": 12}, {"query_groups": 2, "denoising": 12}])
def test_what_is_added_never_changes_the_first_group(added: dict[str, int]) -> None:
    alone, beside = network(), network(**added)
    beside.load_state_dict(alone.state_dict())
    _, few = losses(alone)
    found, many = losses(beside, TARGETS)
    assert len(many.heads) > len(few.heads)
    for one, other in zip(few.heads, many.heads, strict=False):
        assert one.name == other.name
        torch.testing.assert_close(one.logits, other.logits)
        torch.testing.assert_close(one.boxes, other.boxes)
    # The scorer learns the first group's attention alone.
    torch.testing.assert_close(few.auxiliary_losses, many.auxiliary_losses)
    assert all(loss.isfinite().all() for loss in found.values())
    assert len(beside.eval()(IMAGES).heads) == 1
    assert torch.equal(alone.eval()(IMAGES).heads[0].logits, beside(IMAGES).heads[0].logits)


def test_gradients_of_the_first_groups_losses_are_its_own() -> None:
    alone, beside = network(), network(query_groups=3, denoising=12)
    beside.load_state_dict(alone.state_dict())
    for model, targets in ((alone, None), (beside, TARGETS)):
        model(IMAGES, targets=targets).heads[0].logits.square().sum().backward()
    for (name, one), other in zip(alone.named_parameters(), beside.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, msg=name, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("groups", [2, 3])
def test_groups_have_their_share_of_the_weight_and_proposals_of_their_own(groups: int) -> None:
    model = network(query_groups=groups)
    _, output = losses(model)
    heads = {head.name: head for head in output.heads}
    further = [f"group.{group}.{layer}" for group in range(1, groups) for layer in range(3)]
    assert [name for name in heads if name.startswith("group.")] == further
    assert {heads[name].weight for name in further} == {1 / (groups - 1)}
    assert {heads[name].logits.shape for name in further} == {(2, 7, 3)}
    first = [heads["decoder.0"].boxes, *(heads[f"group.{group}.0"].boxes for group in range(1, groups))]
    for one, other in itertools.pairwise(first):
        assert not torch.equal(one, other)


def test_copies_of_disturbed_objects_do_not_see_one_another() -> None:
    model = network(denoising=12)
    drawn: list[Any] = []
    with pytest.MonkeyPatch.context() as patched:

        def noting(*given: Any) -> Any:
            found = disturbed_objects(*given)
            assert found is not None
            drawn.append(found._replace(boxes=found.boxes.requires_grad_()))
            return drawn[-1]

        patched.setattr("sparsevision.models.sparse_detr.network.disturbed_objects", noting)
        head = next(head for head in model(IMAGES, targets=TARGETS).heads if head.name == "denoising.2")
    [disturbed] = drawn
    assert disturbed.copies == 2
    rows = disturbed.boxes.shape[1] // 2
    head.boxes[0, :rows].sum().backward()
    reached = disturbed.boxes.grad.abs().sum(dim=2)
    assert (reached[0, :rows] > 0).all()
    assert not reached[0, rows:].any()
    assert not reached[1].any()


def test_disturbed_objects_are_near_theirs_or_far_and_padding_is_marked() -> None:
    torch.manual_seed(0)
    drawn = disturbed_objects(TARGETS, 3, 60)
    assert drawn is not None
    assert drawn.copies == 10
    assert drawn.boxes.shape == (2, 60, 4)
    rows = drawn.objects.view(2, 10, 2, 3)
    assert torch.equal(rows[0, :, 0], torch.arange(3).expand(10, -1))
    assert (rows[:, :, 1] == -1).all()
    valid = drawn.valid.view(2, 10, 2, 3)
    assert valid[0].all()
    assert torch.equal(valid[1].flatten(0, 1), torch.tensor([True, False, False]).expand(20, -1))
    for image, target in enumerate(TARGETS):
        boxes = drawn.boxes.view(2, 10, 2, 3, 4)[image, :, :, : len(target["labels"])]
        near, far = (boxes[:, side] - target["boxes"] for side in (0, 1))
        sides = target["boxes"][:, 2:]
        assert (near[..., :2].abs() <= sides / 2 + 1e-6).all()
        assert far.abs().mean() > near.abs().mean()
    classes = drawn.labels.view(2, 10, 2, 3)[0]
    changed = (classes != TARGETS[0]["labels"]).float().mean()
    assert 0.02 < changed < 0.35
    assert disturbed_objects([{"labels": torch.zeros(0).long(), "boxes": torch.zeros(0, 4)}] * 2, 3, 60) is None


def test_denoising_without_objects_adds_nothing() -> None:
    model, nothing = network(denoising=12), {"labels": torch.zeros(0).long(), "boxes": torch.zeros(0, 4)}
    assert len(model(IMAGES, targets=[nothing] * 2).heads) == len(network()(IMAGES).heads)
    output = model(IMAGES, targets=[TARGETS[0], nothing])
    assert all(head.logits.isfinite().all() and head.boxes.isfinite().all() for head in output.heads)
    found = SetCriterion()(output, [TARGETS[0], nothing], torch.tensor(3.0), torch.tensor(2.0))
    torch.stack(list(found.values())).sum().backward()
    assert all(each.grad is None or each.grad.isfinite().all() for each in model.parameters())


def test_training_without_targets_leaves_denoising_out_and_refuses_salience() -> None:
    assert not network().reads_targets
    denoising, salience = network(denoising=12), network(selection="salience")
    assert denoising.reads_targets
    assert salience.reads_targets
    assert len(denoising(IMAGES).heads) == len(network()(IMAGES).heads)
    with pytest.raises(ConfigError, match="learned from the targets' boxes"):
        salience(IMAGES)
    assert len(salience.eval()(IMAGES).heads) == 1


def test_given_assignments_are_not_matched() -> None:
    logits, boxes = torch.zeros(2, 3, 3), torch.full((2, 3, 4), 0.5)
    objects = torch.tensor([[2, -1, 0], [-1, 0, -1]])
    head = DetectionHead("given", logits, boxes, objects=objects)
    found = SetCriterion().of_head(head, TARGETS, torch.tensor(4.0), torch.tensor(2.0))
    wanted = torch.cat([TARGETS[0]["boxes"][[2, 0]], TARGETS[1]["boxes"]])
    torch.testing.assert_close(found["l1"], (wanted - 0.5).abs().sum() / 4)


def test_the_loss_of_a_layers_boxes_reaches_the_layer_before_when_it_looks_forward_twice() -> None:
    reached = {}
    for ways in ("once", "twice"):
        model = network(look_forward=ways)
        head = model(IMAGES).heads[0]
        head.boxes.sum().backward()
        gradients = [each.box[-1].weight.grad for each in model.decoder_heads]
        reached[ways] = [gradient is not None and bool(gradient.abs().sum() > 0) for gradient in gradients]
    assert reached == {"once": [False, False, True], "twice": [True, True, True]}
    once, twice = (network(look_forward=ways).eval()(IMAGES).heads[0] for ways in ("once", "twice"))
    assert torch.equal(once.boxes, twice.boxes)


def test_an_object_is_salient_on_the_level_of_its_size_and_most_at_its_centre() -> None:
    shapes = [(16, 16), (8, 8), (4, 4)]
    centres = [((torch.arange(side) + 0.5) / side) for side in (16, 8, 4)]
    references = torch.cat([torch.cartesian_prod(c, c).flip(1) for c in centres]).unsqueeze(0)
    levels = [slice(0, 256), slice(256, 320), slice(320, 336)]
    sides = torch.tensor([[16.0, 16.0]])
    for box, level in (
        ([0.5, 0.5, 0.3, 0.5], 0), ([0.5, 0.5, 0.51, 0.1], 1), ([0.5, 0.5, 1.0, 0.2], 1), ([0.1, 0.1, 0.001, 0.001], 0),
    ):  # fmt: skip
        found = salience(references, shapes, [torch.tensor([box])], sides)[0]
        assert [bool(found[rows].any()) for rows in levels] == [number == level for number in range(3)], box
        best = references[0, found.argmax()]
        assert (best - torch.tensor(box[:2])).abs().max() <= 0.5 / (16 >> level) + 1e-6
        assert 0 < float(found.max()) <= 1
    assert not salience(references, shapes, [torch.zeros(0, 4)], sides).any()


def test_the_scorer_learns_salience_without_the_decoder() -> None:
    model = network(selection="salience")
    found, _ = losses(model, TARGETS)
    assert found["salience"].shape == (2,)
    found["salience"].sum().backward()
    assert all(parameter.grad is not None for parameter in model.salience.parameters())
    perfect = torch.tensor([[20.0, -20.0]])
    assert salience_losses(perfect, torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2).bool()).item() < 1e-6
    assert "salience" in model.choices["selection"].values


def test_the_map_of_dense_attention_is_its_sum() -> None:
    weights = [torch.rand(2, 4, 5, 6).softmax(dim=-1) for _ in range(3)]
    found = dense_attention_map(weights)
    torch.testing.assert_close(found, sum(layer.sum(dim=(1, 2)) for layer in weights))
    torch.testing.assert_close(found.sum(dim=1), torch.full((2,), 3 * 4 * 5.0))


def test_scores_learn_how_good_boxes_are() -> None:
    boxes = torch.stack([target["boxes"][0] for target in TARGETS]).unsqueeze(1)
    boxes[0, 0, 0] += 0.1  # half a side: an overlap of a third
    logits = torch.tensor([[[0.3, -1.0, 0.5]], [[0.1, 0.2, -0.4]]], requires_grad=True)
    first = [{name: each[:1] for name, each in target.items()} for target in TARGETS]
    head = DetectionHead("decoder", logits, boxes)
    found = SetCriterion(class_target="iou").of_head(head, first, torch.tensor(2.0), torch.tensor(2.0))["classes"]
    total = torch.tensor(0.0)
    for image, (label, overlap) in enumerate(((0, 1 / 3), (1, 1.0))):
        for index in range(3):
            logit = logits[image, 0, index]
            wanted = torch.tensor(overlap if index == label else 0.0)
            weight = wanted if index == label else VARIFOCAL_ALPHA * logit.sigmoid() ** GAMMA
            total = total + weight * F.binary_cross_entropy_with_logits(logit, wanted)
    torch.testing.assert_close(found, total / 2)
    softmax = DetectionHead("decoder", logits, boxes, scores="softmax")
    with pytest.raises(ConfigError, match="class_target='iou' is for class scores that are independent"):
        SetCriterion(class_target="iou").of_head(softmax, first, torch.tensor(2.0), torch.tensor(2.0))


def test_a_table_of_queries_has_no_groups() -> None:
    for option in ({"query_groups": 2}, {"denoising": 10}):
        with pytest.raises(ConfigError, match="query_groups and denoising start from boxes"):
            SparseDETRConfig(queries="learned", selection="all", **option)
    with pytest.raises(ConfigError, match="look_forward='twice' is for boxes that are refined"):
        SparseDETRConfig(queries="learned", selection="all", boxes="direct", look_forward="twice")


@pytest.mark.slow  # compiled, and so not among the tests in which shapes are checked
def test_geometry_that_is_kept_serves_every_way_of_running() -> None:
    model = network().eval()
    with torch.inference_mode():
        expected = model(IMAGES).heads[0].boxes.clone()
    assert count_macs(model, (3, 64, 96)).total > 0
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(IMAGES).heads[0].boxes, expected, atol=1e-4, rtol=1e-4)
    model.train()(IMAGES).heads[0].boxes.sum().backward()
    with torch.no_grad():
        whole = torch.tensor([[64, 96]] * 2)
        torch.testing.assert_close(model.eval()(IMAGES, sizes=whole).heads[0].boxes, expected, atol=1e-5, rtol=1e-5)
    with torch.device("meta"):
        shapes = network().eval()
    assert shapes(IMAGES.to("meta")).heads[0].boxes.shape == (2, 7, 4)


def test_equal_scores_of_blank_tokens_are_told_apart_by_their_rounding() -> None:
    scores = torch.tensor([[0.5, -0.3, -0.3, 0.2, -0.3, -0.3]])
    blank = torch.tensor([[False, True, True, False, True, False]])
    found = without_ties(scores, blank)
    assert torch.equal(found[~blank], scores[~blank])
    torch.testing.assert_close(found, scores, rtol=1e-6, atol=0)
    assert found[0, 5] > found[0, 1] > found[0, 2] > found[0, 4]
    assert without_ties(scores.bfloat16(), blank).dtype == torch.float32
