"""Detection: who answers for what, what is averaged over, and average precision as COCO's own tool has it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sparsevision.outputs import DetectionHead, DetectionOutput
from sparsevision.tasks.detection.criterion import SetCriterion
from sparsevision.tasks.detection.matching import HungarianMatcher, SetWeights
from sparsevision.tasks.detection.metrics import NEUTRAL_THRESHOLD
from sparsevision.tasks.detection.post_processing import PostProcess
from sparsevision.tasks.detection.task import DetectionTask
from sparsevision.types import Batch, ClassMetadata, Geometry, Sample

CLASSES = ("ant", "bee", "cat")


def target(labels: list[int], boxes: list[list[float]], crowds: list[bool] | None = None) -> dict[str, Tensor]:
    count = len(labels)
    corners = torch.tensor(boxes).reshape(-1, 4)
    return {
        "labels": torch.tensor(labels, dtype=torch.long),
        "boxes": corners,
        "areas": corners[:, 2] * corners[:, 3],
        "crowds": torch.tensor(crowds or [False] * count, dtype=torch.bool).reshape(count),
    }


def batch(targets: list[dict[str, Tensor]], size: tuple[int, int] = (100, 200), first: int = 0) -> Batch:
    geometry = Geometry(size, (0, 0, size[1], size[0]))
    samples = [Sample(torch.zeros(3, 50, 100), one, f"{i}.jpg", first + i, geometry) for i, one in enumerate(targets)]
    return DetectionTask(CLASSES).collate(samples)


def head(batch_size: int = 2, queries: int = 6, seed: int = 0) -> DetectionHead:
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch_size, queries, len(CLASSES), generator=draw)
    centres = torch.rand(batch_size, queries, 2, generator=draw)
    return DetectionHead("decoder", logits, torch.cat([centres, 0.1 + 0.2 * centres], -1).requires_grad_())


BOXES = [[0.3, 0.3, 0.2, 0.2], [0.7, 0.6, 0.3, 0.4]]


def head_losses(head: DetectionHead, targets: list[dict[str, Tensor]], objects: float) -> dict[str, Tensor]:
    return SetCriterion().of_head(head, targets, torch.tensor(objects), torch.tensor(float(len(targets))))


@pytest.mark.parametrize("scores", ["sigmoid", "softmax"])
def test_every_object_gets_a_query_of_its_own(scores: str) -> None:
    two, match = replace(head(2, 6), scores=scores), HungarianMatcher(SetWeights())
    labels = [torch.tensor([0, 0, 1]), torch.tensor([1])]
    boxes = [torch.tensor([*BOXES, BOXES[0]]), torch.tensor(BOXES[:1])]
    found = match(two, labels, boxes)
    assert found.images.tolist() == [0, 0, 0, 1]
    assert len(set(found.queries[:3].tolist())) == 3
    assert sorted(found.objects.tolist()) == [0, 1, 2, 3]
    few = match(replace(two, logits=two.logits[:, :2], boxes=two.boxes[:, :2]), labels, boxes)
    assert few.images.tolist() == [0, 0, 1]


def test_a_image_is_matched_as_if_it_were_alone() -> None:
    valid, match = torch.tensor([[True] * 6, [False, True, True, False, True, True]]), HungarianMatcher(SetWeights())
    two = replace(head(2, 6), valid=valid)
    labels, boxes = [torch.tensor([1, 2]), torch.tensor([0, 1])], [torch.tensor(BOXES), torch.tensor(BOXES).flip(0)]
    both = match(two, labels, boxes)
    for image in range(2):
        one = [image]
        alone = match(
            replace(two, logits=two.logits[one], boxes=two.boxes[one], valid=valid[one]), [labels[image]],
            [boxes[image]],
        )  # fmt: skip
        mine = both.images == image
        assert both.queries[mine].tolist() == alone.queries.tolist()
        assert (both.objects[mine] - 2 * image).tolist() == alone.objects.tolist()


def test_scores_that_are_no_numbers_reach_the_loss() -> None:
    # There the loop finds them, and names the images.
    broken = head(1)
    broken.logits[0, 2] = float("nan")
    assert not math.isfinite(sum(head_losses(broken, [target([0], BOXES[:1])], 1.0).values()).item())


def test_only_valid_rows_answer_and_are_taught() -> None:
    one = head(1, 6)
    valid = torch.tensor([[False, True, False, True, True, False]])
    some = DetectionHead("encoder.0", one.logits.requires_grad_(), one.boxes, valid)
    losses = head_losses(some, [target([1, 2], BOXES)], 2.0)
    sum(losses.values()).backward()
    assert (some.logits.grad[0].abs().sum(-1) > 0).tolist() == valid[0].tolist()
    assert not (some.boxes.grad[0].abs().sum(-1) > 0)[~valid[0]].any()


@pytest.mark.parametrize("boxes", [[[0.5, 0.5, 0.0, 0.0]], [[0.5, 0.5, 1.0, 1.0]], [[-0.5, 2.0, 0.1, 0.1]]])
def test_odd_boxes_give_finite_losses_and_gradients(boxes: list[list[float]]) -> None:
    one = head(1)
    flat = DetectionHead("decoder", one.logits, one.boxes.detach().clone())
    flat.boxes[0, 0] = torch.tensor([0.5, 0.5, 0.0, 0.0])
    flat.boxes.requires_grad_()
    total = sum(head_losses(flat, [target([0], boxes)], 1.0).values())
    total.backward()
    assert math.isfinite(total.item())
    assert flat.boxes.grad.isfinite().all()


def test_losses_are_averaged_over_objects_and_own_ones_over_images() -> None:
    task = DetectionTask(CLASSES)
    both = batch([target([0, 1], BOXES), target([], [])])
    assert task.count(both).tolist() == [2.0, 2.0]
    output = DetectionOutput((head(),), {"mask_prediction": torch.tensor([1.0, 3.0])})
    once, half = (task.loss(output, both, torch.tensor(count)) for count in ([2.0, 2.0], [4.0, 4.0]))
    assert once["mask_prediction"] == 2
    for name, term in once.items():
        torch.testing.assert_close(half[name] * 2, term)


def test_accumulated_parts_add_up_to_the_whole() -> None:
    task, answer = DetectionTask(CLASSES), head()
    targets = [target([0, 1], BOXES), target([2], BOXES[:1])]
    whole = batch(targets)
    count = task.count(whole)
    together = task.loss(DetectionOutput((answer,)), whole, count)
    parts = [
        task.loss(
            DetectionOutput((DetectionHead("decoder", answer.logits[i : i + 1], answer.boxes[i : i + 1]),)),
            batch(targets[i : i + 1]),
            count,
        )
        for i in (0, 1)
    ]
    for name, term in together.items():
        torch.testing.assert_close(parts[0][name] + parts[1][name], term)


def test_crowds_are_not_taught() -> None:
    task = DetectionTask(CLASSES)
    plain, crowded = batch([target([0], BOXES[:1])]), batch([target([0, 1], BOXES, [False, True])])
    answer = DetectionOutput((head(1),))
    assert torch.equal(task.count(plain), task.count(crowded))
    for name, term in task.loss(answer, plain, task.count(plain)).items():
        torch.testing.assert_close(task.loss(answer, crowded, task.count(crowded))[name], term)


def test_results_are_in_pixels_of_the_original() -> None:
    task = DetectionTask(CLASSES)
    logits = torch.full((1, 2, 3), -9.0)
    logits[0, 1, 2] = 4.0
    boxes = torch.tensor([[[0.5, 0.5, 0.1, 0.1], [0.25, 0.5, 0.5, 1.0]]])
    output = DetectionOutput((DetectionHead("decoder", logits, boxes),))
    [found] = task.reader(max_objects=1)(output, batch([target([], [])]))
    assert found.labels == ("cat",)
    assert found.boxes == ((0.0, 0.0, 100.0, 100.0),)
    assert found.to_dict()["objects"][0]["label"] == "cat"
    assert "cat" in str(found)


def test_doubles_go_where_that_is_asked_for() -> None:
    task = DetectionTask(CLASSES)
    logits = torch.full((1, 4, 3), -9.0)
    for row, (label, logit) in enumerate(((0, 2.0), (0, 3.0), (1, 1.0), (0, 1.5))):
        logits[0, row, label] = logit
    boxes = torch.tensor([[[0.5, 0.5, 0.4, 0.4], [0.51, 0.5, 0.4, 0.4], [0.5, 0.5, 0.4, 0.4], [0.2, 0.5, 0.4, 0.4]]])
    output, one = DetectionOutput((DetectionHead("decoder", logits, boxes),)), batch([target([], [])])
    for nms, rows in ((1.0, [1, 0, 3, 2]), (0.5, [1, 3, 2]), (0.1, [1, 2])):
        [found] = task.reader(nms=nms)(output, one)
        assert list(found.scores) == pytest.approx([float(logits[0, row].max().sigmoid()) for row in rows]), nms
    # What is left out gives its place to the next.
    [found] = task.reader(nms=0.5, max_objects=2)(output, one)
    assert list(found.scores) == pytest.approx([float(logits[0, row].max().sigmoid()) for row in (1, 3)])


def test_a_crowded_image_is_scored_and_reported_whole() -> None:
    task, count = DetectionTask(CLASSES), 150
    places = torch.cartesian_prod(torch.arange(15), torch.arange(10)).float()
    boxes = torch.cat([(places + 0.5) / 15, torch.full((count, 2), 0.06)], dim=1)
    logits = torch.full((1, count, 3), -9.0)
    logits[0, :, 1] = 3.0 + torch.rand(count)
    output = DetectionOutput((DetectionHead("decoder", logits, boxes[None]),))
    one = batch([target([1] * count, boxes.tolist())])
    metrics = task.metrics()
    metrics.update(output, one)
    report = metrics.compute()
    assert report.ap50 == pytest.approx(1.0)
    assert report.recall == pytest.approx(1.0)
    assert report.per_class[1].found == count
    [found] = task.reader()(output, one)
    assert len(found.labels) == count
    assert len(task.reader(max_objects=20)(output, one)[0].labels) == 20


def test_an_images_hundred_best_are_scored_where_none_has_more_objects() -> None:
    task, count = DetectionTask(CLASSES), 150
    boxes = torch.full((1, count, 4), 0.1)
    boxes[0, -1] = torch.tensor([0.5, 0.5, 0.4, 0.4])
    logits = torch.full((1, count, 3), -9.0)
    logits[0, :, 1] = torch.linspace(3, 2, count)
    metrics = task.metrics()
    metrics.update(
        DetectionOutput((DetectionHead("decoder", logits, boxes),)), batch([target([1], [[0.5, 0.5, 0.4, 0.4]])])
    )
    assert metrics.compute().recall == 0.0


def _coco(images: list[dict[str, Tensor]], found: list[tuple[Tensor, Tensor, Tensor]], size: tuple[int, int]):
    """COCO's own evaluation of detections (scores, labels, corner boxes)."""
    import contextlib
    import io

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    height, width = size
    annotations, detections = [], []
    for index, (true, (scores, labels, boxes)) in enumerate(zip(images, found, strict=True)):
        for label, (x, y, w, h), area, crowd in zip(
            *(true[key].tolist() for key in ("labels", "boxes", "areas", "crowds")), strict=True
        ):
            bbox = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
            annotations.append({"id": len(annotations) + 1, "image_id": index, "category_id": label, "bbox": bbox,
                                "area": area * width * height, "iscrowd": int(crowd)})  # fmt: skip
        for score, label, (x0, y0, x1, y1) in zip(scores.tolist(), labels.tolist(), boxes.tolist(), strict=True):
            detections.append(
                {"image_id": index, "category_id": label, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i, "height": height, "width": width} for i in range(len(images))],
            "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES)],
            "annotations": annotations,
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def test_average_precision_is_cocos() -> None:
    size = (400, 600)
    draw = torch.Generator().manual_seed(3)
    targets, logits, boxes = [], [], []
    for image in range(12):
        count = 0 if image == 5 else image % 4 + 1
        centres = 0.2 + 0.6 * torch.rand(count, 2, generator=draw)
        sides = 0.03 + 0.3 * torch.rand(count, 2, generator=draw)
        labels = torch.randint(3, (count,), generator=draw)
        true = target(
            labels.tolist(), torch.cat([centres, sides], -1).tolist(), [image == 7 and i == 0 for i in range(count)]
        )
        targets.append(true)
        queries = torch.rand(10, 4, generator=draw) * 0.5 + 0.1
        queries[:count] = true["boxes"] + 0.02 * torch.randn(count, 4, generator=draw)
        scores = torch.randn(10, 3, generator=draw) - 2
        scores[torch.arange(count), labels] += 3
        logits.append(scores)
        boxes.append(queries.clamp(0.01, 0.99))
    answer = DetectionHead("decoder", torch.stack(logits), torch.stack(boxes))
    whole = batch(targets, size)
    metrics = DetectionTask(CLASSES).metrics()
    for part in (slice(0, 5), slice(5, 12)):
        output = DetectionOutput((DetectionHead("decoder", answer.logits[part], answer.boxes[part]),))
        metrics.update(output, batch(targets[part], size, part.start))
    report = metrics.compute()
    found = PostProcess()(answer, torch.tensor([size] * 12))
    expected = _coco(targets, found, size)
    got = [report.ap, report.ap50, report.ap75, report.small, report.medium, report.large]
    # COCO has -1 for what is not defined.
    assert [-1.0 if value is None else value for value in got] == pytest.approx(expected[:6].tolist(), abs=1e-6)
    assert report.recall == pytest.approx(expected[8], abs=1e-6)
    assert 0.1 < report.ap < 0.95
    assert report.images == len(whole) == 12
    assert report.classes == CLASSES


def test_nothing_scored_is_a_report_of_nothing() -> None:
    assert DetectionTask(CLASSES).metrics().compute().images == 0


def test_thresholds_that_find_little_are_told() -> None:
    def told(*f1: float | None, **options: float) -> list[str]:
        return DetectionTask(CLASSES, ClassMetadata(thresholds=(0.2, 0.3, 0.4), f1=f1 or None)).caveats(**options)

    assert told(0.2, 0.1, 0.3) == [
        "At its thresholds the model had a mean F1 of 0.20 on val: expect wrong and missing objects."
    ]
    assert told(0.9, 0.1, 0.8) == told() == told(0.2, 0.1, 0.3, threshold=0.5) == told(None, 0.8, None) == []


def _task_with(thresholds: tuple[float, ...] | None) -> DetectionTask:
    return DetectionTask(CLASSES, ClassMetadata((3, 7, 90), thresholds))


def _scored(task: DetectionTask, scores: list[float]) -> Any:
    """Four bees in two images, each found at one of four scores; a fifth detection is wrong."""
    targets = [target([1, 1], BOXES), target([1, 1], BOXES)]
    logits = torch.full((2, 3, 3), -9.0)
    boxes = torch.tensor([[*BOXES, [0.1, 0.9, 0.1, 0.1]]] * 2)
    logits[0, :2, 1], logits[1, :2, 1] = (torch.tensor(scores[i : i + 2]).logit() for i in (0, 2))
    logits[1, 2, 1] = torch.tensor(scores[4]).logit()
    metrics = task.metrics()
    metrics.update(DetectionOutput((DetectionHead("decoder", logits, boxes),)), batch(targets))
    return metrics.compute()


def test_a_class_gets_the_threshold_of_its_best_f1() -> None:
    report = _scored(_task_with(None), [0.9, 0.8, 0.7, 0.6, 0.5])
    ant, bee, _ = report.per_class
    assert 0.5 < bee.threshold <= 0.6 + 1e-6
    assert (bee.objects, bee.found, bee.count_error, bee.f1) == (4, 4, 0.0, pytest.approx(1.0))
    assert (ant.objects, ant.ap, ant.f1) == (0, None, None)
    assert report.class_metadata().category_ids == (3, 7, 90)
    assert report.class_metadata().thresholds == tuple(one.threshold for one in report.per_class)


def test_a_class_of_which_nothing_is_found_right_gets_the_neutral_threshold() -> None:
    metrics = _task_with(None).metrics()
    elsewhere = torch.tensor([[[0.9, 0.1, 0.05, 0.05]]])
    logits = torch.tensor([[[-9.0, 1.0, -9.0]]])
    metrics.update(DetectionOutput((DetectionHead("decoder", logits, elsewhere),)), batch([target([1, 1], BOXES)]))
    bee = metrics.compute().per_class[1]
    assert (bee.ap, bee.f1, bee.threshold) == (0.0, 0.0, NEUTRAL_THRESHOLD)


def test_thresholds_that_weights_carry_are_the_ones_that_count() -> None:
    bee = _scored(_task_with((0.5, 0.75, 0.5)), [0.9, 0.8, 0.7, 0.6, 0.5]).per_class[1]
    assert (bee.threshold, bee.found, bee.count_error) == (0.75, 2, 1.0)
    assert bee.f1 == pytest.approx(2 / 3, abs=0.02)


def test_results_keep_what_counts() -> None:
    logits = torch.full((1, 2, 3), -9.0)
    logits[0, 0, 0], logits[0, 1, 2] = 0.0, 1.0  # scores 0.5 and 0.73
    output = DetectionOutput((DetectionHead("decoder", logits, torch.rand(1, 2, 4)),))
    one = batch([target([], [])])
    assert [r.labels for r in _task_with((0.6, 0.5, 0.6)).results(output, one)] == [("cat",)]
    [found] = _task_with((0.6, 0.5, 0.6)).results(output, one, threshold=0.4)
    assert (found.labels, found.category_ids) == (("cat", "ant"), (90, 3))
