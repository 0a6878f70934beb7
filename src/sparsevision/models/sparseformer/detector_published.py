"""Published costs of SparseFormer's detector: Table 7 of arXiv 2304.03768, at the sizes that COCO's images have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsevision.models.published import CostRow, Figure, OperationCount, PublishedCosts, count_parameters

_SMALL = "sparseformer_detector_small"


def figures(row: CostRow, model: Any, count: OperationCount) -> Sequence[Figure]:
    """Returns multiply-adds in G, with and without the products of mixing, and the parameters."""
    total, without, paper = row.stated
    return (
        Figure("total G", count.total / 1e9, total, tolerance=0.01, digits=3),
        Figure("without mixing G", count.without_mixing / 1e9, without, tolerance=0.01, digits=3),
        Figure("paper G", count.without_mixing / 1e9, paper, digits=1),
        Figure("parameters", count_parameters(model)),
    )


ROWS: tuple[CostRow, ...] = (
    CostRow("T7 S N400 800x1333", _SMALL, (29.316, 28.404, 27.0), size=(800, 1333)),
    CostRow("T7 S N400 800x1066", _SMALL, (28.559, 27.647, 27.0), size=(800, 1066)),
)

COSTS = PublishedCosts(
    title="SparseFormer's detector (arXiv 2304.03768, A.1)",
    rows=ROWS,
    figures=figures,
    note="The totals were measured on the released classifier with 400 tokens, whose head of 1,000 classes costs about "
    "as little as the detector's.",
)
