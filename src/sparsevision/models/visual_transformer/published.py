"""Published costs of Visual Transformers (arXiv 2006.03677): every row of Tables 2 to 8.

"FLOPs" in the paper are multiply-adds. `macs` and `parameters` are those of the budget form, which was derived from the
published figures: they are met to the unit. Parameters of Tables 2 to 6 are printed cut off and not rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsevision.models.published import CostRow, Figure, OperationCount, PublishedCosts, count_parameters


def figures(row: CostRow, model: Any, count: OperationCount) -> Sequence[Figure]:
    """Returns multiply-adds and parameters, each to the unit and beside the paper's, in millions as printed."""
    macs, parameters, paper_macs, paper_parameters = row.stated
    found = count_parameters(model)
    return (
        Figure("multiply-adds", count.total, macs, tolerance=0),
        Figure("paper M", count.total / 1e6, paper_macs),
        Figure("parameters", found, parameters, tolerance=0),
        Figure("paper M", found / 1e6, paper_parameters, digits=1),
    )


_18, _34, _50, _101 = "vt_resnet18", "vt_resnet34", "vt_resnet50", "vt_resnet101"
_HALF, _FRESH = {"recurrence": "half"}, {"recurrence": "none"}
_NOT_3230, _NOT_3369 = "3230: misprint of 3300", "3369: misprint of 3269"
_NOT_MET = "the paper's pair is not reproducible"

ROWS: tuple[CostRow, ...] = (
    CostRow("2 to 7", _18, (1_578_950_656, 11_671_592, 1579, 11.6)),
    CostRow("3 pooling", _18, (1_549_688_832, 11_057_704, 1550, 11.0), {"tokenizer": "pool"}),
    CostRow("3 clustering", _18, (1_580_556_288, 11_667_496, 1580, 11.6), {"tokenizer": "cluster"}),
    CostRow("4 without recurrence", _18, (1_564_139_520, 11_120_680, 1564, 11.1), _FRESH),
    CostRow("5 none", _18, (1_527_832_576, 8_513_576, 1528, 8.5), {"relation": "none"}),
    CostRow("5 graph", _18, (1_528_356_864, 8_514_088, 1528, 8.5), {"relation": "graph"}),
    CostRow("6 L = 32", _18, (1_710_972_928, 11_675_688, 1711, 11.6), {"num_tokens": 32}),
    CostRow("6 L = 64", _18, (1_979_736_064, 11_683_880, 1979, 11.6), {"num_tokens": 64}),
    CostRow("7 without projector", _18, (1_497_227_264, 9_352_232, 1497, 9.3), {"projector": "none"}),
    CostRow("2 to 7", _34, (3_299_008_512, 21_892_392, 3299, 21.8)),
    CostRow("3 pooling", _34, (3_245_301_760, 20_685_608, 3246, 20.6), {"tokenizer": "pool"}),
    CostRow("3 clustering", _34, (3_300_614_144, 21_888_296, 3230, 21.8), {"tokenizer": "cluster"}, remark=_NOT_3230),
    CostRow("4 without recurrence", _34, (3_269_386_240, 20_790_568, 3369, 20.7), _FRESH, remark=_NOT_3369),
    CostRow("5 none", _34, (3_222_331_392, 17_155_368, 3222, 17.1), {"relation": "none"}),
    CostRow("5 graph", _34, (3_223_117_824, 17_156_136, 3223, 17.1), {"relation": "graph"}),
    CostRow("6 L = 32", _34, (3_514_130_432, 21_896_488, 3514, 21.8), {"num_tokens": 32}),
    CostRow("6 L = 64", _34, (3_951_452_160, 21_904_680, 3951, 21.8), {"num_tokens": 64}),
    CostRow("7 without projector", _34, (3_158_040_576, 17_369_384, 3158, 17.3), {"projector": "none"}),
    CostRow("8", _18, (1_568_956_416, 11_671_592, 1569, 11.7), _HALF),
    CostRow("8", _34, (3_279_020_032, 21_892_392, 3236, 19.2), _HALF, remark=_NOT_MET),
    CostRow("8", _50, (3_571_867_648, 22_149_160, 3412, 21.4), _HALF, remark=_NOT_MET),
    CostRow("8", _101, (7_284_088_832, 41_141_288, 7129, 41.5), _HALF, remark=_NOT_MET),
    CostRow("8 full recurrence", _50, (3_595_067_392, 22_149_160, 3412, 21.4), remark=_NOT_MET),
    CostRow("8 full recurrence", _101, (7_307_288_576, 41_141_288, 7129, 41.5), remark=_NOT_MET),
)  # fmt: skip

COSTS = PublishedCosts(
    title="Visual Transformers (arXiv 2006.03677), 224x224",
    rows=ROWS,
    figures=figures,
    note="The paper's figures for VT-R34, VT-R50 and VT-R101 in its Table 8 are not reproducible: no code was released "
    "and no widths, groups, resolution or depth of the token network that were tried give its multiply-adds and "
    "parameters at once (VT-R34's of Table 2 are met).",
)
