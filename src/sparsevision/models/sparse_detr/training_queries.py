"""Queries that only training has: further groups of proposals, and objects whose boxes and classes are disturbed.

Neither changes what the first group of queries computes, nor anything at prediction. Groups: Group DETR (arXiv
2207.13085) and H-DETR (arXiv 2207.13080); disturbed objects ("denoising"): DN-DETR (arXiv 2203.01305) and DINO
(arXiv 2203.03605), whose constants these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.ops import box_convert

from sparsevision.models.sparse_detr.decoder import AttentionGroup, DecodedLayer, ObjectQueries
from sparsevision.models.sparse_detr.deformable import SamplingLocations
from sparsevision.outputs import DetectionHead

Targets = Sequence[dict[str, Tensor]]
# The share of disturbed objects whose class is drawn anew.
CLASS_NOISE = 0.25


class QueryGroup(NamedTuple):
    """Queries that attend to one another and to none of another group, or several `copies` of such queries.

    `weight` is a factor on their losses. Where the object of each query is known, `objects` has it (see
    `DetectionHead`), and `valid` marks the rows that stand for an object.
    """

    name: str
    queries: ObjectQueries
    weight: float = 1.0
    copies: int = 1
    objects: Int[Tensor, "batch queries"] | None = None
    valid: Bool[Tensor, "batch queries"] | None = None

    def attention(self) -> AttentionGroup:
        """Returns which of the queries attend to one another."""
        rows = self.queries.content.shape[1] // self.copies
        if self.valid is None:
            return AttentionGroup(rows, self.copies)
        absent = ~self.valid.reshape(-1, rows)
        # Attention to nothing at all is not a number.
        return AttentionGroup(rows, self.copies, absent & ~absent.all(dim=1, keepdim=True))


def joined(groups: Sequence[QueryGroup]) -> ObjectQueries:
    """Puts groups in a row."""
    parts = [group.queries for group in groups]
    content = torch.cat([part.content for part in parts], dim=1)
    positions = torch.cat([part.positions for part in parts], dim=1)
    references = torch.cat([part.references for part in parts], dim=1)
    return ObjectQueries(content, positions, references, tuple(group.attention() for group in groups))


def parted(layers: Sequence[DecodedLayer], groups: Sequence[QueryGroup]) -> list[list[DecodedLayer]]:
    """Divides what layers give for groups in a row into a list of layers for each group."""
    found, first = [], 0
    for group in groups:
        rows = slice(first, first + group.queries.content.shape[1])
        found.append([_rows(layer, rows) for layer in layers])
        first = rows.stop
    return found


def _rows(layer: DecodedLayer, rows: slice) -> DecodedLayer:
    looks = SamplingLocations(*(each[:, rows] for each in layer.looks))
    return DecodedLayer(layer.content[:, rows], layer.logits[:, rows], layer.boxes[:, rows], looks)


def heads_of(group: QueryGroup, layers: Sequence[DecodedLayer]) -> list[DetectionHead]:
    """Returns the heads of a group, one a layer."""
    return [
        DetectionHead(
            f"{group.name}.{index}", layer.logits, layer.boxes, group.valid, objects=group.objects, weight=group.weight
        )
        for index, layer in enumerate(layers)
    ]


class DisturbedObjects(NamedTuple):
    """Copies of each image's objects, some of which have to be found and some not; see `disturbed_objects`."""

    boxes: Float[Tensor, "batch rows 4"]
    labels: Int[Tensor, "batch rows"]
    objects: Int[Tensor, "batch rows"]
    valid: Bool[Tensor, "batch rows"]
    copies: int


def disturbed_objects(targets: Targets, num_classes: int, count: int) -> DisturbedObjects | None:
    """Draws disturbed copies of the objects of each image, about `count` rows of the image that has most; None if none.

    Each copy has every object twice: with its corners moved by less than half its sides, which is to be found
    (`objects`), and moved by more, which is background (-1). A quarter of the rows have a random class. Copies do not
    attend to one another.
    """
    most = max((len(target["labels"]) for target in targets), default=0)
    if not most:
        return None
    labels, boxes = (
        pad_sequence([target[name] for target in targets], batch_first=True) for name in ("labels", "boxes")
    )
    counts = torch.tensor([len(target["labels"]) for target in targets], device=labels.device)
    places = torch.arange(most, device=labels.device)
    copies = max(1, count // (2 * most))
    shape = (len(targets), copies, 2, most)
    sides = boxes[:, None, None, :, 2:].repeat(1, 1, 1, 1, 2)
    corners = box_convert(boxes, "cxcywh", "xyxy")[:, None, None]
    far = torch.tensor([0.0, 1.0], device=boxes.device).view(1, 1, 2, 1, 1)
    moved = (torch.rand(*shape, 4, device=boxes.device) + far) * sides / 2
    sign = torch.randint(0, 2, (*shape, 4), device=boxes.device) * 2 - 1
    noisy = box_convert((corners + sign * moved).clamp(0, 1), "xyxy", "cxcywh")
    drawn = torch.rand(shape, device=boxes.device) < CLASS_NOISE
    classes = torch.where(drawn, torch.randint_like(drawn, num_classes, dtype=labels.dtype), labels[:, None, None])
    near = torch.stack([places, torch.full_like(places, -1)])
    present = (places < counts.unsqueeze(1))[:, None, None].expand(shape)
    objects = near.expand(shape).masked_fill(~present, -1)
    noisy, classes, objects, present = (each.flatten(1, 3) for each in (noisy, classes, objects, present))
    return DisturbedObjects(noisy, classes, objects, present, copies)
