"""Which query answers for which object: the cheapest one-to-one assignment (DETR, Eq. 1; Deformable DETR's costs)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou

ALPHA, GAMMA = 0.25, 2.0
# A logarithm of a score of exactly 0 or 1 stays finite.
EPS = 1e-8


class Costs(NamedTuple):
    """What a mistake costs in the assignment, and, as weights, in the loss."""

    classes: float = 2.0
    l1: float = 5.0
    giou: float = 2.0


def pairwise_cost(
    logits: Float[Tensor, "queries classes"],
    boxes: Float[Tensor, "queries 4"],
    labels: Int[Tensor, " objects"],
    objects: Float[Tensor, "objects 4"],
    costs: Costs,
) -> Float[Tensor, "queries objects"]:
    """Returns what each query would cost as the answer for each object; boxes are (cx, cy, w, h) as fractions."""
    score = logits[:, labels].float().sigmoid()
    right = ALPHA * (1 - score) ** GAMMA * -(score + EPS).log()
    wrong = (1 - ALPHA) * score**GAMMA * -(1 - score + EPS).log()
    l1 = torch.cdist(boxes.float(), objects.float(), p=1)
    giou = generalized_box_iou(*(box_convert(some.float(), "cxcywh", "xyxy") for some in (boxes, objects)))
    # Two boxes without any area at one place have no defined overlap: they do not overlap.
    return costs.classes * (right - wrong) + costs.l1 * l1 - costs.giou * giou.nan_to_num(0.0)


class Matches(NamedTuple):
    """Pairs of a batch: the picture, its query, and the object's place among all objects of the batch in a row."""

    pictures: Int[Tensor, " pairs"]
    queries: Int[Tensor, " pairs"]
    objects: Int[Tensor, " pairs"]


@torch.no_grad()
def match(
    logits: Float[Tensor, "batch queries classes"],
    boxes: Float[Tensor, "batch queries 4"],
    labels: Sequence[Int[Tensor, " objects"]],
    objects: Sequence[Float[Tensor, "objects 4"]],
    costs: Costs,
    valid: Bool[Tensor, "batch queries"] | None = None,
) -> Matches:
    """Assigns the objects of each picture to its queries: as many pairs as objects, or queries if these are fewer.

    `valid` says which queries may answer, None: all. However large the batch is, its costs go to the CPU together
    and its pairs come back together, so that a GPU is seldom waited for. A cost that is no number (the network has come
    to an end, and its loss will say so) counts as 0.
    """
    found = [
        pairwise_cost(*picture, costs).nan_to_num(0.0).flatten()
        for picture in zip(logits, boxes, labels, objects, strict=True)
    ]
    counts, queries = [len(each) for each in labels], logits.shape[1]
    tables = torch.cat(found).cpu().split([queries * count for count in counts])
    rows = torch.ones(len(counts), queries, dtype=torch.bool) if valid is None else valid.cpu()
    pairs, first = [], 0
    for picture, (count, table) in enumerate(zip(counts, tables, strict=True)):
        pairs.append(_assigned(table.view(queries, count), rows[picture], picture, first))
        first += count
    return Matches(*torch.cat(pairs, dim=1).to(logits.device))


def _assigned(cost: Tensor, valid: Tensor, picture: int, first: int) -> Int[Tensor, "3 pairs"]:
    """Solves one picture; its objects are counted from `first`."""
    from scipy.optimize import linear_sum_assignment

    rows = valid.nonzero().squeeze(1)
    queries, objects = (torch.from_numpy(side) for side in linear_sum_assignment(cost[rows].numpy()))
    return torch.stack([torch.full_like(queries, picture), rows[queries], objects + first])
