"""A family of networks as an addition would bring it: one folder's worth, in one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from sparsevision.models.layouts import Layout
from sparsevision.models.parameter_groups import ParameterGroup, decay_groups
from sparsevision.models.registry import Variant
from sparsevision.types import Preprocessing, Response, Trace


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    """A width, and the usual two."""

    width: int = 8
    num_classes: int = 4
    in_chans: int = 3


class ToyNet(nn.Module):
    """A convolution and the mean of its map."""

    outputs: ClassVar[str] = "classes"
    controls: ClassVar[dict[str, Any]] = {}
    traces: ClassVar[tuple[str, ...]] = ("response",)
    first_conv: ClassVar[str] = "conv"
    class_heads: ClassVar[tuple[str, ...]] = ("fc",)

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config, self.num_classes = config, config.num_classes
        self.default_cfg: dict[str, Any] = {}
        self.conv = nn.Conv2d(config.in_chans, config.width, 3, padding=1)
        self.fc = nn.Linear(config.width, config.num_classes)

    def forward(self, images: Tensor, *, sizes: Tensor | None = None, trace: Trace | None = None) -> Tensor:
        """Returns logits (B, K)."""
        pixels = F.gelu(self.conv(images)).flatten(2).transpose(1, 2)
        if trace is not None:
            trace.record("head", Response(self.fc(pixels)))
        return self.fc(pixels.mean(dim=1))

    def parameter_groups(self) -> list[ParameterGroup]:
        """Returns all parameters; biases do not decay."""
        return decay_groups(self, exempt=lambda name, parameter: parameter.ndim < 2)


VARIANTS = {
    "toy_small": Variant(config=ToyConfig(), preprocessing=Preprocessing(size=(32, 32)), paper="none"),
    "toy_wide": Variant(config=ToyConfig(width=16), preprocessing=Preprocessing(size=(48, 48)), paper="none"),
}

OWN_TENSORS = ("conv.weight",)
LABEL_SETS: dict[int, str] = {}
LAYOUTS = (
    Layout(
        name="toys",
        matches=lambda names: "theirs.weight" in names,
        renaming=lambda names: lambda name: name.replace("theirs.", "conv."),
    ),
)


def infer_config(state: dict[str, Tensor]) -> dict[str, Any]:
    """Returns the sides of the tensors."""
    width, in_chans = state["conv.weight"].shape[:2]
    return {"width": width, "in_chans": in_chans, "num_classes": state["fc.weight"].shape[0]}
