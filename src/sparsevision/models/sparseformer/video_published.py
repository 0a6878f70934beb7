"""Published and measured costs of SparseFormer over time: Tables 5 and 6 of arXiv 2304.03768, clips of 32 frames.

`macs` and `mixing` were measured on the released library's video network as those of the image rows, with 1000 classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsevision.models.published import CostRow, PublishedCosts
from sparsevision.models.sparseformer.published import figures

_TINY, _SMALL, _BASE = (f"video_sparseformer_{size}" for size in ("tiny", "small", "base"))
_CLIP = (32, 224, 224)


def _config(inflation: int) -> Mapping[str, Any]:
    return {"inflation": inflation, "numerics": "v2", "num_classes": 1000}


ROWS: tuple[CostRow, ...] = (
    CostRow("T5 T", _TINY, (31_641_432, 22.0, 23.066, 0.894, 0.0542), _config(8), _CLIP),
    CostRow("T5 S", _SMALL, (47_757_784, 38.0, 39.140, 1.168, 0.0708), _config(8), _CLIP),
    CostRow("T5 B", _BASE, (81_342_136, 74.0, 74.970, 1.478, 0.0896), _config(8), _CLIP),
    CostRow("T6 n=1", _TINY, (31_551_566, 7.0, 7.668, 0.112, 0.0068), _config(1), _CLIP),
    CostRow("T6 n=4", _TINY, (31_590_080, 13.0, 13.972, 0.447, 0.0271), _config(4), _CLIP),
    CostRow("T6 n=8", _TINY, (31_641_432, 22.0, 23.066, 0.894, 0.0542), _config(8), _CLIP),
    CostRow("T6 n=16", _TINY, (31_744_136, 32.0, 43.613, 1.788, 0.1084), _config(16), _CLIP),
)

COSTS = PublishedCosts(
    title="SparseFormer over time (arXiv 2304.03768, Tables 5 and 6): G multiply-adds of one clip of 32 x 224 x 224.",
    rows=ROWS,
    figures=figures,
    note="The paper's figures agree with the count without the products of mixing, truncated. That of 16 copies does "
    "not: from 8 copies on attention and mixing over twice the tokens cost 19.7 G more, where the paper has 10.",
)
