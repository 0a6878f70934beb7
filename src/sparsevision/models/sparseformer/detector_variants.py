"""The named detectors on SparseFormer: Table 7's, and this project's nano. Nothing was released."""

from __future__ import annotations

from collections.abc import Mapping

from sparsevision.models.registry import Variant
from sparsevision.models.sparseformer.detector import SparseFormerDetectorConfig
from sparsevision.models.sparseformer.variants import CONFIGS as CLASSIFIERS
from sparsevision.types import Preprocessing

CONFIGS: Mapping[str, SparseFormerDetectorConfig] = {
    "sparseformer_detector_small": SparseFormerDetectorConfig(),
    # Small data sets teach early units through heads of their own, and tokens that begin with a place of their own.
    "sparseformer_detector_nano": SparseFormerDetectorConfig(
        **CLASSIFIERS["sparseformer_nano"].shared_fields()
        | {"classifier": "sparseformer_nano", "num_tokens": 100, "num_queries": 100, "num_classes": 3}
        | {"auxiliary_heads": "cortex", "roi_init": "cell"}
    ),
}
_INPUT = Preprocessing(size=(800, 1333), fit="short", interpolation="bilinear")
_SMALL_INPUT = Preprocessing(size=(320, 533), fit="short", interpolation="bilinear")
VARIANTS: Mapping[str, Variant] = {
    "sparseformer_detector_small": Variant(
        config=CONFIGS["sparseformer_detector_small"], preprocessing=_INPUT, paper="arXiv 2304.03768"
    ),
    "sparseformer_detector_nano": Variant(
        config=CONFIGS["sparseformer_detector_nano"], preprocessing=_SMALL_INPUT, paper="arXiv 2304.03768"
    ),
}
