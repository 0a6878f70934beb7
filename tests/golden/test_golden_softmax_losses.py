"""Heads whose scores are a softmax with a background output, against DETR's released matcher and criterion."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_convert

sys.path.insert(0, str(Path(__file__).parent))
from golden_cases import Case, read

from sparsevision.outputs import DetectionHead, DetectionOutput
from sparsevision.tasks.detection.criterion import BACKGROUND_WEIGHT, SetCriterion
from sparsevision.tasks.detection.matching import HungarianMatcher, SetWeights
from sparsevision.tasks.detection.post_processing import PostProcess

NAMES = ("detector_losses", "detector_losses_no_objects")
LOSSES = {"classes": "loss_ce", "l1": "loss_bbox", "giou": "loss_giou"}


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest) -> Case:
    return read("sparseformer_heads", request.param)


def head_of(case: Case) -> DetectionHead:
    logits, boxes = (case.inputs[name].clone().requires_grad_() for name in ("logits", "boxes"))
    return DetectionHead("decoder", logits, boxes, scores="softmax")


def targets_of(case: Case) -> list[dict[str, Tensor]]:
    images = range(len(case.inputs["logits"]))
    return [{name: case.inputs[f"target.{image}.{name}"] for name in ("labels", "boxes")} for image in images]


def weights_of(case: Case) -> SetWeights:
    """The case's weights, which are its costs too."""
    given = case.config["weights"]
    assert given == case.config["costs"]
    return SetWeights(classes=given["class"], l1=given["l1"], giou=given["giou"])


def counts_of(targets: list[dict[str, Tensor]]) -> tuple[Tensor, Tensor]:
    """The numbers of objects and of images."""
    objects = sum(len(target["labels"]) for target in targets)
    return torch.tensor(float(objects)), torch.tensor(float(len(targets)))


def test_objects_are_assigned_to_the_same_queries(case: Case) -> None:
    head, targets = head_of(case), targets_of(case)
    labels, boxes = ([target[name] for target in targets] for name in ("labels", "boxes"))
    found = HungarianMatcher(weights_of(case))(head, labels, boxes)
    first = 0
    for image, target in enumerate(targets):
        mine = found.images == image
        pairs = torch.stack([found.queries[mine], found.objects[mine] - first], dim=1)
        assert sorted(pairs.tolist()) == sorted(case.outputs[f"match.{image}"].tolist())
        first += len(target["labels"])


def test_losses_and_gradients_are_the_released_ones(case: Case) -> None:
    head, targets = head_of(case), targets_of(case)
    criterion = SetCriterion(weights_of(case))
    assert case.config["no_object"] == BACKGROUND_WEIGHT
    for name, loss in criterion.of_head(head, targets, *counts_of(targets)).items():
        case.check(f"loss.{LOSSES[name]}", loss)
    terms = criterion(DetectionOutput((head,)), targets, *counts_of(targets))
    total = torch.stack(list(terms.values())).sum()
    case.check("total", total)
    total.backward()
    case.check_gradients({"logits": head.logits.grad, "boxes": head.boxes.grad})


def test_the_loss_of_a_step_is_the_same_in_two_parts(case: Case) -> None:
    targets, criterion, whole = targets_of(case), SetCriterion(weights_of(case)), head_of(case)
    counts = counts_of(targets)
    together = criterion.of_head(whole, targets, *counts)
    sum(together.values()).backward()
    for cut in range(1, len(targets)):
        parted, left = head_of(case), dict(together)
        for rows in (slice(0, cut), slice(cut, None)):
            part = DetectionHead("decoder", parted.logits[rows], parted.boxes[rows], scores="softmax")
            losses = criterion.of_head(part, targets[rows], *counts)
            left = {name: loss - losses[name] for name, loss in left.items()}
            sum(losses.values()).backward()
        for name, loss in left.items():
            torch.testing.assert_close(loss, torch.zeros(()), atol=1e-6, rtol=0, msg=name)
        torch.testing.assert_close(parted.logits.grad, whole.logits.grad, atol=1e-7, rtol=1e-5)
        torch.testing.assert_close(parted.boxes.grad, whole.boxes.grad, atol=1e-7, rtol=1e-5)


def test_detections_never_are_the_background(case: Case) -> None:
    head = head_of(case)
    sizes = torch.tensor([[100, 200]]).expand(len(head.logits), 2)
    for image, found in enumerate(PostProcess(keep=1000)(head, sizes)):
        expected = head.logits[image].softmax(-1)[:, :-1]
        assert len(found.scores) == expected.numel()
        assert int(found.labels.max()) == expected.shape[-1] - 1
        torch.testing.assert_close(found.scores, expected.flatten().sort(descending=True).values)
        row, label = divmod(int(expected.argmax()), expected.shape[-1])
        assert int(found.labels[0]) == label
        corners = box_convert(head.boxes[image, row], "cxcywh", "xyxy") * torch.tensor([200, 100, 200, 100])
        torch.testing.assert_close(found.boxes[0], corners)
