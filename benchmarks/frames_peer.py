"""The network of images on every frame of a clip, as a family that our commands train and evaluate.

    python benchmarks/frames_peer.py train --recipe fight_nano --data FIGHT --out runs/frames \
        --set model.name=frames_nano --set "model.config={}"

Everything behind the name of the script is a `sparsevision` command line. The answer is the mean of the logits of all
frames: what one frame does not tell, it cannot know.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import Tensor

from peer_command import register_peer, run_command
from sparsevision.models.registry import Variant, variant_named
from sparsevision.models.sparseformer.network import SparseFormer, SparseFormerConfig
from sparsevision.types import Preprocessing

CLASSIFIER = variant_named("sparseformer_nano")


class FrameAverage(SparseFormer):
    """The network of images on every frame of clips (B, 3, T, H, W); the mean of its logits (B, K)."""

    @property
    def backbone_name(self) -> str:
        """The classifier of images that the network starts from."""
        return CLASSIFIER.name

    def backbone_tensors(self) -> dict[str, str]:
        """Names the tensors that it starts from: {here: in the classifier}."""
        return {name: name for name in self.state_dict() if not name.startswith(self.class_heads)}

    def forward(self, clips: Tensor, **options: Any) -> Tensor:
        """Classifies clips."""
        logits: Tensor = super().forward(clips.transpose(1, 2).flatten(0, 1), **options)
        return logits.unflatten(0, (len(clips), -1)).mean(1)


VARIANTS = {
    "frames_nano": Variant(
        config=SparseFormerConfig(**asdict(CLASSIFIER.config) | {"num_classes": 2}),
        preprocessing=Preprocessing(frames=16, clip_seconds=2.0).of_images(CLASSIFIER.preprocessing),
        paper="arXiv 2304.03768",
    )
}


def register() -> None:
    """Adds the family to the table."""
    register_peer(__name__, "FrameAverage", name="frames_nano", task="video_classification")


if __name__ == "__main__":
    register()
    run_command()
