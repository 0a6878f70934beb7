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
_SPARSEFORMER, _BOOTSTRAPPED = "arXiv 2304.03768", "arXiv 2312.01987"

_SPARSEFORMERS: Mapping[str, tuple[Preprocessing, Weights | None, str]] = {
    "sparseformer_nano": (
        Preprocessing(size=(160, 160)), Weights("sparseformer_nano.safetensors", "this project, Caltech-101"), _SPARSEFORMER
    ),
    "sparseformer_tiny": (Preprocessing(), Weights(_V1 + "sparseformer_t_imagenet1k.pth", "released", 81.0), _SPARSEFORMER),
    "sparseformer_small": (Preprocessing(), Weights(_V1 + "sparseformer_s_imagenet1k.pth", "released", 82.0), _SPARSEFORMER),
    "sparseformer_base": (Preprocessing(), Weights(_V1 + "sparseformer_b_imagenet1k.pth", "released", 82.6), _SPARSEFORMER),
    "sparseformer_augreg_base": (
        _HALF, Weights(_V2 + "sparseformer_btsp_augreg_base_converted.pth", "released"), _BOOTSTRAPPED
    ),
    "sparseformer_augreg_large": (
        _HALF, Weights(_V2 + "sparseformer_btsp_augreg_large_converted.pth", "released"), _BOOTSTRAPPED
    ),
    "sparseformer_clip_base": (
        _CLIP, Weights(_V2 + "sparseformer_btsp_openai_clip_base_converted.pth", "released"), _BOOTSTRAPPED
    ),
    "sparseformer_clip_large": (
        _CLIP, Weights(_V2 + "sparseformer_btsp_openai_clip_large_converted.pth", "released"), _BOOTSTRAPPED
    ),
}  # fmt: skip

VARIANTS: Mapping[str, Variant] = {
    name: Variant(name, SparseFormer, CONFIGS[name], *rest) for name, rest in _SPARSEFORMERS.items()
}
