"""Outputs of networks that are more than one tensor; registered as pytrees, so that such a network exports as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils import _pytree as pytree


def register_output(kind: type[Any], *, constants: Sequence[str] = ()) -> None:
    """Registers a dataclass as a pytree whose leaves are its tensors; `constants` are plain values, kept aside.

    Strings among the leaves would come back from a traced graph, but not from an exported file.
    """
    names = [each.name for each in fields(kind) if each.name not in constants]

    def flatten(output: Any) -> tuple[list[Any], list[Any]]:
        return [getattr(output, name) for name in names], [getattr(output, name) for name in constants]

    def unflatten(children: Any, context: Any) -> Any:
        return kind(**dict(zip(names, children, strict=True)), **dict(zip(constants, context, strict=True)))

    pytree.register_pytree_node(
        kind, flatten, unflatten, serialized_type_name=f"{kind.__module__}.{kind.__name__}",
        to_dumpable_context=list, from_dumpable_context=list,
    )  # fmt: skip


def at_least_single(tensor: Tensor) -> Tensor:
    """Returns a tensor in fp32, or in fp64 if that is what it is in."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


@dataclass(frozen=True)
class DetectionHead:
    """The answer of one head of a detector for its queries or tokens.

    `logits` (B, N, K) are independent per class where `scores` is "sigmoid"; where it is "softmax" they are (B, N, K+1)
    with the background last. `boxes` (B, N, 4) are (centre x, centre y, width, height) as fractions of the valid image;
    `valid` (B, N) marks the rows that count, None all of them. `labels` is the target of the head: the "classes", or
    only that there is an object ("foreground", always class 0). `objects` (B, N) is the place, among its image's
    objects, of the one that a row has to find, -1 where that is none; None where rows and objects are to be matched.
    `weight` is a factor on the head's losses.
    """

    name: str
    logits: Tensor
    boxes: Tensor
    valid: Tensor | None = None
    labels: Literal["classes", "foreground"] = "classes"
    scores: Literal["sigmoid", "softmax"] = "sigmoid"
    objects: Tensor | None = None
    weight: float = 1.0

    @property
    def background(self) -> bool:
        """Whether the last output is the background's."""
        return self.scores == "softmax"

    def probabilities(self) -> Float[Tensor, "batch rows classes"]:
        """Returns the score of every class, without the background's, in fp32 at least; 0 in rows that do not count."""
        logits = at_least_single(self.logits)
        found = logits.softmax(dim=-1)[..., :-1] if self.background else logits.sigmoid()
        return found if self.valid is None else found.masked_fill(~self.valid.unsqueeze(-1), 0)


@dataclass(frozen=True)
class DetectionOutput:
    """The output of a detector: its `heads`, the one that results are read from first, and auxiliary losses.

    `auxiliary_losses`, which only the network can form, are {name: one number an image (B,)}.
    """

    heads: tuple[DetectionHead, ...]
    auxiliary_losses: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class SegmentationHead:
    """The answer of one head of a segmenter: `logits` (B, K, h, w), whose pixels stand for `stride` of the image's.

    At the right and the bottom the last pixels may reach beyond the image.
    """

    name: str
    logits: Tensor
    stride: int


@dataclass(frozen=True)
class SegmentationOutput:
    """The output of a segmenter: its `heads`, the one that results are read from first, then auxiliary ones."""

    heads: tuple[SegmentationHead, ...]


register_output(DetectionHead, constants=("name", "labels", "scores", "weight"))
register_output(DetectionOutput)
register_output(SegmentationHead, constants=("name", "stride"))
register_output(SegmentationOutput)
