"""Learned queries that attend to a small feature map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from sparsevision.models.parameter_groups import ParameterGroup, decay_groups
from sparsevision.outputs import DetectionHead, DetectionOutput
from sparsevision.types import Control, Points, Trace, TraceKind


@dataclass(frozen=True)
class SoftmaxDETRConfig:
    width: int = 16
    num_queries: int = 6
    num_classes: int = 2
    in_chans: int = 3

    @property
    def background(self) -> int:
        """Outputs of a class head beside those of the classes."""
        return 1


class SoftmaxDETR(nn.Module):
    traces: ClassVar[tuple[TraceKind, ...]] = ("points",)
    class_heads: ClassVar[tuple[str, ...]] = ("classes",)
    first_conv: ClassVar[str] = "conv"
    outputs: ClassVar[str] = "classes"
    controls: ClassVar[Mapping[str, Control]] = {}

    def __init__(self, config: SoftmaxDETRConfig) -> None:
        super().__init__()
        self.config, self.num_classes, width = config, config.num_classes, config.width
        self.conv = nn.Conv2d(config.in_chans, width, 8, stride=8, padding=4)
        self.queries = nn.Parameter(torch.randn(config.num_queries, width))
        self.attend = nn.MultiheadAttention(width, 2, batch_first=True)
        self.classes = nn.Linear(width, config.num_classes + config.background)
        self.box = nn.Linear(width, 4)

    def forward(self, images: Tensor, *, sizes: Tensor | None = None, trace: Trace | None = None) -> DetectionOutput:
        tokens = self.conv(images).flatten(2).transpose(1, 2)
        queries = self.queries.expand(len(images), -1, -1)
        read, _ = self.attend(queries, tokens, tokens, need_weights=False)
        states = queries + read
        boxes = self.box(states).sigmoid()
        if trace is not None:
            trace.record("queries", Points(boxes[:, :, None, :2]))
        return DetectionOutput((DetectionHead("queries", self.classes(states), boxes, scores="softmax"),))

    def parameter_groups(self) -> list[ParameterGroup]:
        return decay_groups(self, exempt=lambda name, parameter: parameter.ndim < 2)
