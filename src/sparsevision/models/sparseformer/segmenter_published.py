"""Published costs of SparseFormer's segmenter: Table 8 of arXiv 2304.03768, at 512 x 512."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsevision.models.published import CostRow, Figure, OperationCount, PublishedCosts, count_parameters

_TINY, _SIZE = "sparseformer_segmenter_tiny", (512, 512)


def figures(row: CostRow, model: Any, count: OperationCount) -> Sequence[Figure]:
    """Returns multiply-adds in G, of the whole network and of its head alone, and the parameters."""
    total, paper = row.stated
    return (
        Figure("total G", count.total / 1e9, total, tolerance=0.01, digits=1),
        Figure("paper G", count.total / 1e9, paper, digits=1),
        Figure("parameters", count_parameters(model)),
    )


ROWS: tuple[CostRow, ...] = (
    CostRow("T8 N=49", _TINY, (34.2, 33.0), size=_SIZE),
    CostRow("T8 N=256", _TINY, (46.8, 39.0), {"num_tokens": 256}, _SIZE),
    CostRow("T8 N=400", _TINY, (56.0, 43.0), {"num_tokens": 400}, _SIZE),
)

COSTS = PublishedCosts(
    title="SparseFormer's segmenter (arXiv 2304.03768, A.2), 512x512",
    rows=ROWS,
    figures=figures,
    note="The paper's figures for 256 and 400 tokens are not reproducible: they rise by 6 and 10 G over those for 49, "
    "and the added tokens alone cost the network 9.0 and 15.8 G, whatever the head does.",
)
