"""The assignment of objects to queries: the cheapest one-to-one pairs (DETR, Eq. 1; Deformable DETR's costs)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou

from sparsevision.outputs import DetectionHead, at_least_single

ALPHA, GAMMA = 0.25, 2.0
# A logarithm of a score of exactly 0 or 1 stays finite.
EPS = 1e-8


class SetWeights(NamedTuple):
    """Weights of the classes, the distance and the overlap: in the costs of the assignment, and in the loss."""

    classes: float = 2.0
    l1: float = 5.0
    giou: float = 2.0


class Matches(NamedTuple):
    """Pairs of a batch: the image, its query, and the place of the object among all objects of the batch in a row."""

    images: Int[Tensor, " pairs"]
    queries: Int[Tensor, " pairs"]
    objects: Int[Tensor, " pairs"]


class HungarianMatcher:
    """Assigns the objects of each image to its queries: as many pairs as objects, or as queries if these are fewer.

    However large the batch is, its costs go to the CPU together and its pairs come back together, so that a GPU is
    seldom waited for. A cost that is not a number (the network has diverged, and its loss will show it) counts as 0.
    """

    def __init__(self, weights: SetWeights) -> None:
        self.weights = weights

    @torch.no_grad()
    def __call__(
        self, head: DetectionHead, labels: Sequence[Int[Tensor, " _"]],
        objects: Sequence[Float[Tensor, "_ 4"]],
    ) -> Matches:  # fmt: skip
        """Returns the pairs of a head's rows, those that count, with the objects' labels and boxes."""
        found = []
        for index, (classes, boxes) in enumerate(zip(labels, objects, strict=True)):
            cost = self.cost(head, index, classes, boxes)
            found.append(cost.nan_to_num(0.0).flatten())
        counts, queries = [len(each) for each in labels], head.logits.shape[1]
        tables = torch.cat(found).cpu().split([queries * count for count in counts])
        rows = torch.ones(len(counts), queries, dtype=torch.bool) if head.valid is None else head.valid.cpu()
        pairs, first = [], 0
        for image, (count, table) in enumerate(zip(counts, tables, strict=True)):
            pairs.append(_assigned(table.view(queries, count), rows[image], image, first))
            first += count
        return Matches(*torch.cat(pairs, dim=1).to(head.logits.device))

    def cost(
        self, head: DetectionHead, index: int, labels: Int[Tensor, " objects"], objects: Float[Tensor, "objects 4"]
    ) -> Float[Tensor, "queries objects"]:
        """Returns the cost of each query of one image as the answer for each object."""
        logits, boxes = at_least_single(head.logits[index]), at_least_single(head.boxes[index])
        if head.scores == "softmax":
            classes = -logits.softmax(dim=-1)[:, labels]
        else:
            score = logits[:, labels].sigmoid()
            right = ALPHA * (1 - score) ** GAMMA * -(score + EPS).log()
            wrong = (1 - ALPHA) * score**GAMMA * -(1 - score + EPS).log()
            classes = right - wrong
        l1 = torch.cdist(boxes, objects.to(boxes.dtype), p=1)
        giou = generalized_box_iou(*(box_convert(some.to(boxes.dtype), "cxcywh", "xyxy") for some in (boxes, objects)))
        # Two boxes without any area at one place have no defined overlap: they do not overlap.
        return self.weights.classes * classes + self.weights.l1 * l1 - self.weights.giou * giou.nan_to_num(0.0)


def shared_areas(boxes: Float[Tensor, "*batch 4"], others: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
    """Returns the area that each box shares with the other of its row; corners given."""
    first, last = torch.maximum(boxes[..., :2], others[..., :2]), torch.minimum(boxes[..., 2:], others[..., 2:])
    return (last - first).clamp(min=0).prod(dim=-1)


def assigned_matches(objects: Int[Tensor, "batch rows"], labels: Sequence[Int[Tensor, " _"]]) -> Matches:
    """Returns the pairs of rows whose object is known: its place among the image's objects, or -1."""
    first = torch.tensor([0, *[len(each) for each in labels]][:-1], device=objects.device).cumsum(0)
    images, rows = (objects >= 0).nonzero(as_tuple=True)
    return Matches(images, rows, objects[images, rows] + first[images])


def _assigned(cost: Tensor, valid: Tensor, image: int, first: int) -> Int[Tensor, "3 pairs"]:
    """Solves one image; its objects are counted from `first`."""
    from scipy.optimize import linear_sum_assignment

    rows = valid.nonzero().squeeze(1)
    queries, objects = (torch.from_numpy(side) for side in linear_sum_assignment(cost[rows].numpy()))
    return torch.stack([torch.full_like(queries, image), rows[queries], objects + first])
