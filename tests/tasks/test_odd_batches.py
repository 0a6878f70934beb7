"""Batches as they should not be: all sizes, no objects or 300, boxes without area; and what neighbours change."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sparsevision.errors import DataError
from sparsevision.factory import create_model
from sparsevision.outputs import DetectionHead
from sparsevision.tasks.detection.task import DetectionTask
from sparsevision.types import Batch, Geometry, Sample

CLASSES = ("ant", "bee", "cat")
SMALL = {
    "backbone": "test_efficientnet", "backbone_options": (), "encoder_depth": 2, "decoder_depth": 2, "ffn_width": 16,
    "num_queries": 8, "dropout": 0.0,
}  # fmt: skip
TASK = DetectionTask(CLASSES)
Target = dict[str, Tensor]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return create_model("sparse_detr_nano", num_classes=3, numerics="clean", **SMALL)


def target(*boxes: list[float], label: int = 0, crowd: bool = False) -> Target:
    corners = torch.tensor(boxes).reshape(-1, 4)
    return {
        "boxes": corners,
        "labels": torch.full((len(boxes),), label),
        "areas": corners[:, 2] * corners[:, 3],
        "crowds": torch.full((len(boxes),), crowd),
    }


def sample(target: Target, height: int = 64, width: int = 96, seed: int = 0) -> Sample:
    image = torch.randn(3, height, width, generator=torch.Generator().manual_seed(seed))
    whole = Geometry((height, width), (0, 0, width, height))
    return Sample(image, target, f"{seed}.png", seed, whole)


def learned(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """A batch's losses, after a backward pass whose gradients are all finite."""
    model.train()
    model.zero_grad()
    losses = TASK.loss(model(batch.images, sizes=batch.sizes), batch, TASK.count(batch))
    sum(losses.values()).backward()
    assert all(math.isfinite(loss.item()) for loss in losses.values())
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    return losses


@torch.inference_mode()
def found(model: nn.Module, batch: Batch) -> DetectionHead:
    """What the model says of a batch."""
    return model.eval()(batch.images, sizes=batch.sizes).heads[0]


ONE = [0.4, 0.5, 0.3, 0.2]
MANY = [[0.05 + 0.003 * i, 0.9 - 0.002 * i, 0.1, 0.08] for i in range(300)]


@pytest.mark.parametrize(
    "samples",
    [
        [sample(target(ONE), 64, 96), sample(target(ONE, ONE), 96, 40, 1), sample(target(), 33, 130, 2)],
        [sample(target(), seed=i) for i in range(2)],
        [sample(target(ONE), 5, 7), sample(target(ONE), 64, 64, 1)],
        [sample(target(ONE), 1, 1)],
        [sample(target(ONE)), sample(target(*MANY), seed=1)],
        [sample(target([0.5, 0.5, 0.0, 0.0], [0.2, 0.2, 0.0, 0.4], [1.0, 1.0, 0.0, 0.0]))],
        [sample(target([-0.5, 2.0, 0.1, 0.1], [1.4, 0.5, 1.0, 3.0]))],
    ],
    ids=["mixed", "empty", "below the stride", "one pixel", "300 objects", "no area", "outside"],
)
def test_odd_batches_are_learned_from_and_predicted(model: nn.Module, samples: list[Sample]) -> None:
    batch = TASK.collate(samples)
    learned(model, batch)
    head = found(model, batch)
    assert head.logits.isfinite().all()
    assert ((head.boxes >= 0) & (head.boxes <= 1)).all()
    assert len(TASK.results(model(batch.images, sizes=batch.sizes), batch)) == len(samples)
    metrics = TASK.metrics()
    metrics.update(model(batch.images, sizes=batch.sizes), batch)
    assert metrics.compute().images == len(samples)


def test_crowds_teach_nothing_in_a_batch(model: nn.Module) -> None:
    both = target(ONE, [0.7, 0.6, 0.2, 0.3])
    both["crowds"] = torch.tensor([False, True])
    plain, crowded = (learned(model, TASK.collate([sample(one)])) for one in (target(ONE), both))
    for name, loss in plain.items():
        torch.testing.assert_close(crowded[name], loss)
    learned(model, TASK.collate([sample(target(ONE, crowd=True))]))


@pytest.mark.parametrize("label", [3, -1])
def test_a_class_that_there_is_not_is_a_sentence(label: int) -> None:
    with pytest.raises(DataError, match=rf"4\.png.*{label}.*3 classes"):
        TASK.collate([sample(target(ONE)), sample(target(ONE, label=label), seed=4)])


def test_a_box_of_no_numbers_is_a_sentence() -> None:
    with pytest.raises(DataError, match=r"0\.png.*not finite"):
        TASK.collate([sample(target([0.5, math.nan, 0.1, 0.1]))])


SHOWN = sample(target(ONE), 70, 90)
OTHERS = [sample(target(ONE), 30, 40, 1), sample(target(), 40, 128, 2), sample(target(*MANY[:9]), 128, 128, 3)]
FILLER = sample(target(), 128, 128, 9)  # makes every batch as large, and is not shown


def beside(other: Sample, place: int) -> tuple[Tensor, Tensor]:
    """The image and one neighbour, padded to 128 x 128, and their sizes."""
    pair = [SHOWN, other] if place == 0 else [other, SHOWN]
    batch = TASK.collate([*pair, FILLER])
    return batch.images[:2], batch.sizes[:2]


@torch.inference_mode()
@pytest.mark.parametrize("selection", ["dam", "objectness", "all"])
@pytest.mark.parametrize("place", [0, 1])
def test_neighbours_of_a_image_change_nothing(selection: str, place: int) -> None:
    torch.manual_seed(1)
    detector = create_model("sparse_detr_nano", num_classes=3, numerics="clean", **{**SMALL, "selection": selection})
    detector.eval()
    heads = []
    for other in OTHERS:
        images, sizes = beside(other, place)
        heads.append(detector(images, sizes=sizes).heads[0])
    for head in heads[1:]:
        torch.testing.assert_close(head.boxes[place], heads[0].boxes[place], atol=1e-4, rtol=0)
        torch.testing.assert_close(head.logits[place], heads[0].logits[place], atol=1e-4, rtol=0)
    # The test means something: what is said of the other image differs.
    assert (heads[1].logits[1 - place] - heads[0].logits[1 - place]).abs().max() > 1e-3


def test_neighbours_of_a_image_change_no_loss_of_its_own(model: nn.Module) -> None:
    for module in model.train().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    losses = []
    for other in OTHERS:
        images, sizes = beside(other, 0)
        output = model(images, sizes=sizes)
        found = {"mask": output.auxiliary_losses["mask_prediction"][0].detach()}
        for head in output.heads:
            valid = None if head.valid is None else head.valid[:1]
            own = replace(head, logits=head.logits[:1], boxes=head.boxes[:1], valid=valid)
            terms = TASK.criterion.of_head(own, [SHOWN.target], torch.tensor(1.0), torch.tensor(1.0))
            found |= {f"{head.name}.{name}": loss.detach() for name, loss in terms.items()}
        losses.append(found)
    for others in losses[1:]:
        for name, loss in losses[0].items():
            torch.testing.assert_close(others[name], loss, atol=1e-4, rtol=1e-4, msg=name)
