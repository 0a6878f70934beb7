"""A U-Net of segmentation_models_pytorch on the same backbone, as a family that our commands train and evaluate.

    python benchmarks/unet_peer.py train --recipe camvid_nano --data CAMVID --out runs/unet \
        --set model.name=smp_unet --set model.backbone=backbone_mobilenetv2_100.safetensors

Everything behind the name of the script is a `sparsevision` command line. The decoder is theirs, with its defaults; it
reads the backbone that ours read, whose padding is that of its weights (their own encoder would pad otherwise).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from peer_command import register_peer, run_command
from sparsevision.models.parameter_groups import ParameterGroup, decay_groups, with_backbone_rate
from sparsevision.models.registry import Variant
from sparsevision.models.timm_backbone import TimmBackbone, backbone_tensors
from sparsevision.outputs import SegmentationHead, SegmentationOutput
from sparsevision.types import Preprocessing, Trace

STRIDE = 32


@dataclass(frozen=True, kw_only=True)
class UnetConfig:
    """A backbone, and the usual outputs."""

    backbone: str = "mobilenetv2_100"
    num_classes: int = 2


class UnetPeer(nn.Module):
    """The decoder and the head of smp.Unet on a backbone of five maps."""

    outputs: ClassVar[str] = "classes"
    class_heads: ClassVar[tuple[str, ...]] = ("head",)
    traces: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: UnetConfig) -> None:
        super().__init__()
        from segmentation_models_pytorch.base import SegmentationHead as Head
        from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

        self.config, self.num_classes = config, config.num_classes
        self.backbone = TimmBackbone(config.backbone, 5, {"pad_type": "same"})
        self.decoder = UnetDecoder(
            encoder_channels=(3, *self.backbone.channels), decoder_channels=(256, 128, 64, 32, 16), n_blocks=5
        )
        self.head = Head(16, config.num_classes, kernel_size=3)

    @property
    def backbone_name(self) -> str:
        """timm's name of the classifier."""
        return self.backbone.name

    def backbone_tensors(self) -> dict[str, str]:
        """Names the backbone's tensors: {here: in the classifier}."""
        return backbone_tensors(self.backbone)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Returns the groups of `vt_fpn_nano`: norms and biases do not decay, the backbone has 0.3 of the rate."""
        return with_backbone_rate(decay_groups(self, exempt=lambda name, parameter: parameter.ndim < 2), 0.3)

    def forward(self, images: Tensor, *, sizes: Tensor | None = None, trace: Trace | None = None) -> SegmentationOutput:
        """Classifies the pixels of normalised images."""
        height, width = images.shape[2:]
        padded = F.pad(images, (0, -width % STRIDE, 0, -height % STRIDE))
        logits = self.head(self.decoder([padded, *self.backbone(padded)]))
        return SegmentationOutput((SegmentationHead("main", logits[..., :height, :width], 1),))


VARIANTS = {
    "smp_unet": Variant(
        config=UnetConfig(), preprocessing=Preprocessing(size=(360, 1024), fit="short"), paper="arXiv 1505.04597"
    )
}


def register() -> None:
    """Adds the family to the table."""
    register_peer(__name__, "UnetPeer", name="smp_unet", task="segmentation")


if __name__ == "__main__":
    register()
    run_command()
