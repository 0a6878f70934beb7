"""Every model by name: its configuration, what it wants as input, and where its weights are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from sparsevision.models.sparseformer import CONFIGS, SparseFormer
from sparsevision.types import Preprocessing


@dataclass(frozen=True)
class Weights:
    """Published weights of a variant: where the file lies, and the accuracy that its authors report."""

    location: str  # an address, or a file name inside the package's weights folder
    source: str
    top1: float | None = None


@dataclass(frozen=True)
class Variant:
    """A named model."""

    name: str
    model_class: type[nn.Module]
    config: Any
    preprocessing: Preprocessing
    weights: Weights | None
    paper: str


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

VARIANTS: Mapping[str, Variant] = {
    name: Variant(name, SparseFormer, CONFIGS[name], *rest) for name, rest in _SPARSEFORMERS.items()
}
