"""Which query answers for which object: the cheapest one-to-one assignment (DETR, Eq. 1; Deformable DETR's costs)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
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


@torch.no_grad()
def match(
    logits: Float[Tensor, "queries classes"],
    boxes: Float[Tensor, "queries 4"],
    labels: Int[Tensor, " objects"],
    objects: Float[Tensor, "objects 4"],
    costs: Costs,
    rows: Int[Tensor, " valid"] | None = None,
) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Returns pairs (query, object) of one picture, as many as there are objects, or queries if these are fewer.

    `rows` are the queries that may answer, None: all.
    """
    if len(labels) == 0:
        empty = labels.new_zeros(0)
        return empty, empty
    from scipy.optimize import linear_sum_assignment

    if rows is not None:
        logits, boxes = logits[rows], boxes[rows]
    cost = pairwise_cost(logits, boxes, labels, objects, costs).cpu().numpy()
    queries, targets = (torch.as_tensor(side, device=labels.device) for side in linear_sum_assignment(cost))
    return (queries if rows is None else rows[queries]), targets
