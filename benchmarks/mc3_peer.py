"""torchvision's network of mixed convolutions, from scratch, as a family that our commands train and evaluate.

    python benchmarks/mc3_peer.py train --recipe fight_nano --data FIGHT --out runs/mc3 \
        --set model.name=mc3_18 --set "model.config={}" --set model.backbone=none

Everything behind the name of the script is a `sparsevision` command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from peer_command import register_peer, run_command
from sparsevision.models.parameter_groups import ParameterGroup, decay_groups
from sparsevision.models.registry import Variant
from sparsevision.types import Preprocessing, Trace


@dataclass(frozen=True, kw_only=True)
class MixedConvolutionsConfig:
    """The usual number of outputs."""

    num_classes: int = 2


class MixedConvolutions(nn.Module):
    """torchvision's mc3_18."""

    outputs: ClassVar[str] = "classes"
    class_heads: ClassVar[tuple[str, ...]] = ("network.fc",)
    traces: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: MixedConvolutionsConfig) -> None:
        from torchvision.models.video import mc3_18

        super().__init__()
        self.config, self.num_classes = config, config.num_classes
        # Its training takes 0.6 of the time so.
        self.network = mc3_18(num_classes=config.num_classes).to(memory_format=torch.channels_last_3d)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Returns groups of which norms and biases do not decay."""
        return decay_groups(self, exempt=lambda name, parameter: parameter.ndim < 2)

    def forward(self, clips: Tensor, *, sizes: Tensor | None = None, trace: Trace | None = None) -> Tensor:
        """Classifies clips (B, 3, T, H, W)."""
        logits: Tensor = self.network(clips.contiguous(memory_format=torch.channels_last_3d))
        return logits


VARIANTS = {
    "mc3_18": Variant(
        config=MixedConvolutionsConfig(), preprocessing=Preprocessing(frames=16, clip_seconds=2.0),
        paper="arXiv 1711.11248",
    )
}  # fmt: skip


def register() -> None:
    """Adds the family to the table."""
    register_peer(__name__, "MixedConvolutions", name="mc3_18", task="video_classification")


if __name__ == "__main__":
    register()
    run_command()
