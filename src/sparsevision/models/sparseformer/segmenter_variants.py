"""The named segmenters on SparseFormer: Table 8's with 49 tokens, and this project's nano. Nothing was released."""

from __future__ import annotations

from collections.abc import Mapping

from sparsevision.models.registry import Variant
from sparsevision.models.sparseformer.segmenter import SparseFormerSegmenterConfig
from sparsevision.models.sparseformer.variants import CONFIGS as CLASSIFIERS
from sparsevision.types import Preprocessing

CONFIGS: Mapping[str, SparseFormerSegmenterConfig] = {
    "sparseformer_segmenter_tiny": SparseFormerSegmenterConfig(),
    # Streets and cells have more things in them than the classifier has tokens.
    "sparseformer_segmenter_nano": SparseFormerSegmenterConfig(
        **CLASSIFIERS["sparseformer_nano"].shared_fields()
        | {"classifier": "sparseformer_nano", "num_tokens": 100, "num_classes": 2}
        | {"restored_width": 128, "restored_heads": 4, "decoder_width": 128}
    ),
}
_INPUT = Preprocessing(size=(512, 2048), fit="short", interpolation="bilinear")
_SMALL_INPUT = Preprocessing(size=(360, 1024), fit="short", interpolation="bilinear")
VARIANTS: Mapping[str, Variant] = {
    "sparseformer_segmenter_tiny": Variant(
        config=CONFIGS["sparseformer_segmenter_tiny"], preprocessing=_INPUT, paper="arXiv 2304.03768"
    ),
    "sparseformer_segmenter_nano": Variant(
        config=CONFIGS["sparseformer_segmenter_nano"], preprocessing=_SMALL_INPUT, paper="arXiv 2304.03768"
    ),
}
