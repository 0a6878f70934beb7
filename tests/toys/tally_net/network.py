"""A convolution whose responses are summed over the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from sparsevision.models.parameter_groups import ParameterGroup, decay_groups
from sparsevision.outputs import register_output
from sparsevision.types import Choice, Control, Points, Regions, Trace, TraceKind


@dataclass(frozen=True)
class TallyNetConfig:
    width: int = 8
    num_classes: int = 1
    in_chans: int = 3


@dataclass(frozen=True)
class CountOutput:
    """`counts` (B,)."""

    counts: Tensor


register_output(CountOutput)


class TallyNet(nn.Module):
    traces: ClassVar[tuple[TraceKind, ...]] = ("points", "regions")
    class_heads: ClassVar[tuple[str, ...]] = ("head",)
    first_conv: ClassVar[str] = "conv"
    outputs: ClassVar[str] = "classes"

    def __init__(self, config: TallyNetConfig) -> None:
        super().__init__()
        self.config, self.num_classes = config, config.num_classes
        self.conv = nn.Conv2d(config.in_chans, config.width, 3, padding=1)
        self.head = nn.Linear(config.width, config.num_classes)

    @property
    def controls(self) -> Mapping[str, Control]:
        return {"sharpness": Control("sharpness", 1.0, 0.0, 2.0, "exponent of the responses")}

    @property
    def choices(self) -> Mapping[str, Choice]:
        return {"pooling": Choice("pooling", "mean", ("mean", "max"), "how responses are pooled")}

    def forward(
        self, images: Tensor, *, sizes: Tensor | None = None, trace: Trace | None = None, sharpness: float = 1.0,
        pooling: Literal["mean", "max"] = "mean",
    ) -> CountOutput:  # fmt: skip
        responses = self.conv(images).relu()
        pooled = responses.amax((2, 3)) if pooling == "max" else responses.mean((2, 3))
        if trace is not None:
            self._record(responses, trace)
        return CountOutput(self.head(pooled.clamp(min=1e-6) ** sharpness).sum(dim=1))

    def _record(self, responses: Tensor, trace: Trace) -> None:
        """Records the place of each channel's largest response, and a square around it."""
        height, width = responses.shape[2:]
        place = responses.flatten(2).argmax(dim=2)
        xy = torch.stack([(place % width + 0.5) / width, (place // width + 0.5) / height], dim=-1)
        trace.record("peaks", Points(xy[:, :, None]))
        trace.record("peaks", Regions(torch.cat([xy - 0.1, xy + 0.1], dim=-1)))

    def parameter_groups(self) -> list[ParameterGroup]:
        return decay_groups(self, exempt=lambda name, parameter: parameter.ndim < 2)

    def set_grad_checkpointing(self, enable: bool = True) -> Any:
        return None
