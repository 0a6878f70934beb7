"""Every model by name: its configuration, what it wants as input, and where its weights are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from torch import nn

from sparsevision.models import sparse_detr, sparseformer, visual_transformer
from sparsevision.types import Preprocessing


@dataclass(frozen=True)
class Weights:
    """Published weights of a variant: where the file lies, and what its authors report, in percent.

    That is the top-1 accuracy of a classifier and the average precision (AP) of a detector.
    """

    location: str  # an address, or a file name inside the package's weights folder
    source: str
    reported: float | None = None


Task = Literal["classification", "detection"]


@dataclass(frozen=True)
class Family:
    """Models of one architecture: what they are for, and where their class is."""

    name: str
    task: Task
    module: str
    class_name: str


SPARSEFORMER = Family("sparseformer", "classification", "sparsevision.models.sparseformer", "SparseFormer")
SPARSE_DETR = Family("sparse_detr", "detection", "sparsevision.models.sparse_detr.network", "SparseDETR")
VISUAL_TRANSFORMER = Family(
    "visual_transformer", "classification", "sparsevision.models.visual_transformer.network", "VTResNet"
)


@dataclass(frozen=True)
class Variant:
    """A named model."""

    name: str
    family: Family
    config: Any
    preprocessing: Preprocessing
    weights: Weights | None
    paper: str

    @property
    def model_class(self) -> type[nn.Module]:
        """The network's class, imported when it is asked for: a detector's backbone comes from timm."""
        found: type[nn.Module] = getattr(import_module(self.family.module), self.family.class_name)
        return found


_V1 = "https://github.com/showlab/sparseformer/releases/download/v1.0.0-imagenet/"
_V2 = "https://github.com/showlab/sparseformer/releases/download/v2.0.0-refactor/"
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_HALF = Preprocessing(interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
_CLIP = Preprocessing(interpolation="bilinear", mean=_CLIP_MEAN, std=_CLIP_STD)
_PAPER, _BOOTSTRAPPED = "arXiv 2304.03768", "arXiv 2312.01987"


def _released(base: str, name: str, top1: float | None = None) -> Weights:
    return Weights(f"{base}{name}.pth", "released", top1)


_SPARSEFORMERS: Mapping[str, tuple[Preprocessing, Weights, str]] = {
    "sparseformer_nano": (
        Preprocessing(size=(160, 160)), Weights("sparseformer_nano.safetensors", "this project, Caltech-101"), _PAPER
    ),
    "sparseformer_tiny": (Preprocessing(), _released(_V1, "sparseformer_t_imagenet1k", 81.0), _PAPER),
    "sparseformer_small": (Preprocessing(), _released(_V1, "sparseformer_s_imagenet1k", 82.0), _PAPER),
    "sparseformer_base": (Preprocessing(), _released(_V1, "sparseformer_b_imagenet1k", 82.6), _PAPER),
    "sparseformer_augreg_base": (_HALF, _released(_V2, "sparseformer_btsp_augreg_base_converted"), _BOOTSTRAPPED),
    "sparseformer_augreg_large": (_HALF, _released(_V2, "sparseformer_btsp_augreg_large_converted"), _BOOTSTRAPPED),
    "sparseformer_clip_base": (_CLIP, _released(_V2, "sparseformer_btsp_openai_clip_base_converted"), _BOOTSTRAPPED),
    "sparseformer_clip_large": (_CLIP, _released(_V2, "sparseformer_btsp_openai_clip_large_converted"), _BOOTSTRAPPED),
}  # fmt: skip

# Short side 800, long side at most 1333.
_DETECTION = Preprocessing(size=(800, 1333), fit="short", interpolation="bilinear")
_DETR = "https://twg.kakaocdn.net/brainrepo/sparse_detr/"
# AP on COCO val2017 by backbone and kept tokens in percent.
_SPARSE_DETR_AP: Mapping[str, Mapping[int, float]] = {
    "r50": {10: 45.3, 20: 45.6, 30: 46.0, 40: 46.2, 50: 46.3},
    "swin_t": {10: 48.2, 20: 48.8, 30: 49.1, 40: 49.2, 50: 49.3},
}


_SMALL_DETECTION = Preprocessing(size=(320, 533), fit="short", interpolation="bilinear")


def _detector(name: str) -> Variant:
    sparse = name.startswith("sparse_detr_")
    paper = "arXiv 2111.14330" if sparse else "arXiv 2010.04159"
    if name.endswith("_nano"):
        cells = Weights("sparse_detr_nano.safetensors", "this project, BCCD") if sparse else None
        return Variant(name, SPARSE_DETR, sparse_detr.CONFIGS[name], _SMALL_DETECTION, cells, paper)
    weights = None
    if sparse:
        short, _, percent = name.removeprefix("sparse_detr_").rpartition("_")
        file = f"sparse_detr_{short.replace('_', '')}_{percent}.pth"
        weights = Weights(_DETR + file, "released", _SPARSE_DETR_AP[short][int(percent)])
    return Variant(name, SPARSE_DETR, sparse_detr.CONFIGS[name], _DETECTION, weights, paper)


# No weights were ever published. Evaluation: the short side to 256, the centre 224.
_RESNET = Preprocessing(interpolation="bilinear")

VARIANTS: Mapping[str, Variant] = (
    {name: Variant(name, SPARSEFORMER, sparseformer.CONFIGS[name], *rest) for name, rest in _SPARSEFORMERS.items()}
    | {name: _detector(name) for name in sparse_detr.CONFIGS}
    | {
        name: Variant(name, VISUAL_TRANSFORMER, config, _RESNET, None, "arXiv 2006.03677")
        for name, config in visual_transformer.CONFIGS.items()
    }
)
