"""Trains torchvision's Faster R-CNN on the backbone of the nano detectors, by a recipe of theirs and in the same loop.

    python benchmarks/faster_rcnn.py BCCD --recipe bccd_nano --out runs/bccd-faster-rcnn \
        --backbone backbone_mobilenetv2_100.safetensors

Data, transforms, epochs, schedule, averaged weights and score are the recipe's. The optimiser is torchvision's own for
this detector (SGD, momentum 0.9, 0.02 for a batch of 16), since AdamW's rate is a transformer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cyclopts
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork, box_convert
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from sparsevision.checkpoints.backbones import fill_backbone
from sparsevision.models.timm_backbone import TimmBackbone, backbone_tensors
from sparsevision.outputs import DetectionHead, DetectionOutput
from sparsevision.tasks.detection.task import DetectionTask, without_crowds
from sparsevision.training.loaders import ImageLoaders
from sparsevision.training.recipe import Recipe, read_recipe
from sparsevision.training.run import Parts, fit
from sparsevision.types import Batch, ClassMetadata

PEER = "torchvision/faster_rcnn"  # its name in a run's recipe
WIDTH = 256
# Sides of anchors on the levels of stride 8, 16, 32 and 64, three to an octave.
SIDES = tuple(tuple(round(side * 2 ** (third / 3)) for third in range(3)) for side in (16, 32, 64, 128))
RATIOS = (0.5, 1.0, 2.0)


class Pyramid(nn.Module):
    """The backbone's maps of stride 8, 16 and 32, and one of 64, all `WIDTH` channels wide."""

    out_channels = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.backbone = TimmBackbone("mobilenetv2_100", 3, {"pad_type": "same"})
        self.fpn = FeaturePyramidNetwork(self.backbone.channels, WIDTH, LastLevelMaxPool())

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Returns the maps, finest first."""
        return dict(self.fpn({str(index): level for index, level in enumerate(self.backbone(images))}))


# What the losses are formed from: the images, and their maps.
Shown = tuple[ImageList, dict[str, Tensor]]


class Peer(nn.Module):
    """Faster R-CNN for batches as our detectors take them: images padded right and below, and their `sizes`.

    In training it returns the maps, from which `PeerTask` forms the losses: proposals need the objects.
    """

    controls = ()

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        # Its own transform is not used: images come resized and normalised. Of 512 boxes an image the head would
        # learn from, a quarter suffices: these images have few objects.
        detector = FasterRCNN(
            Pyramid(),
            num_classes + 1,
            rpn_anchor_generator=AnchorGenerator(SIDES, (RATIOS,) * len(SIDES)),
            box_batch_size_per_image=128,
            box_score_thresh=0.01,
        )
        self.pyramid, self.rpn, self.roi_heads = detector.backbone, detector.rpn, detector.roi_heads
        self.roi_heads.box_roi_pool.featmap_names = ["0", "1", "2"]

    def backbone_tensors(self) -> dict[str, str]:
        """Names what is filled with the classifier's weights: {here: in the classifier}."""
        return {f"pyramid.{name}": theirs for name, theirs in backbone_tensors(self.pyramid.backbone).items()}

    def forward(self, images: Tensor, sizes: Tensor | None = None) -> Shown | DetectionOutput:
        """Returns maps in training, else detections as a head whose rows are boxes after suppression."""
        shown = [tuple(images.shape[-2:])] * len(images) if sizes is None else [tuple(size) for size in sizes.tolist()]
        listed, maps = ImageList(images, shown), self.pyramid(images)
        if self.training:
            return listed, maps
        proposals, _ = self.rpn(listed, maps)
        found, _ = self.roi_heads(maps, proposals, shown)
        return DetectionOutput((self._head(found, shown),))

    def _head(self, found: Sequence[dict[str, Tensor]], shown: Sequence[tuple[int, ...]]) -> DetectionHead:
        rows = max(1, *(len(one["scores"]) for one in found))
        boxes = found[0]["boxes"].new_zeros(len(found), rows, 4)
        scores = boxes.new_zeros(len(found), rows, self.num_classes)
        for index, (one, (height, width)) in enumerate(zip(found, shown, strict=True)):
            count = len(one["scores"])
            sides = boxes.new_tensor([width, height, width, height])
            boxes[index, :count] = box_convert(one["boxes"], "xyxy", "cxcywh") / sides
            scores[index, torch.arange(count), one["labels"] - 1] = one["scores"]
        return DetectionHead("detections", scores.logit(), boxes)


class PeerTask(DetectionTask):
    """Detection as our detectors learn it, but for the losses, which are torchvision's for its own detector."""

    def __init__(self, peer: Peer, classes: Sequence[str], metadata: ClassMetadata, recipe: Recipe) -> None:
        super().__init__(classes, metadata, settings=recipe.settings)
        self.peer = peer

    def loss(self, output: Any, batch: Batch, count: Tensor) -> dict[str, Tensor]:
        """Returns the losses of proposals and of boxes."""
        listed, maps = output
        targets = []
        for target, (height, width) in zip(map(without_crowds, batch.targets), listed.image_sizes, strict=True):
            sides = target["boxes"].new_tensor([width, height, width, height])
            boxes = box_convert(target["boxes"], "cxcywh", "xyxy") * sides
            targets.append({"boxes": boxes, "labels": target["labels"] + 1})
        proposals, first = self.peer.rpn(listed, maps, targets)
        _, second = self.peer.roi_heads(maps, proposals, listed.image_sizes, targets)
        return {**first, **second}


def peers_recipe(name: str, data: str, values: Sequence[str] = ()) -> Recipe:
    """Returns a recipe of ours with torchvision's optimiser."""
    recipe = read_recipe(name)
    changed = {
        "model.name": PEER, "data.spec": data, "optimiser.name": "sgd", "optimiser.momentum": 0.9,
        "optimiser.betas": None, "optimiser.eps": None, "optimiser.lr": 0.02, "optimiser.lr_for_batch": 16,
        "optimiser.clip": 10.0,
    }  # fmt: skip
    return recipe.with_values(changed).with_overrides(values)


def main(data: str, *, out: Path, backbone: str, recipe: str = "bccd_nano", set_: list[str] | None = None) -> None:
    """Train the peer on `data` and leave a run folder at `out`; a folder that is there is gone on with."""
    settings = peers_recipe(recipe, data, set_ or [])

    def parts(_: object) -> Parts:
        train_set = DetectionTask.open(data, "train", cache=settings.data.cache_mebibytes)
        val_set = DetectionTask.open(data, "val")
        peer = Peer(len(train_set.classes))
        fill_backbone(peer, backbone)
        task = PeerTask(peer, train_set.classes, DetectionTask.metadata_of(train_set), settings)
        return Parts(peer, task, ImageLoaders(recipe=settings, train_set=train_set, val_set=val_set, task=task))

    print(fit(settings, parts, out=out, resume=True))


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    app()
