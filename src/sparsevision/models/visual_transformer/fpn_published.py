"""Published costs of VT-FPN and FPN (arXiv 2006.03677, Section 4.3): COCO-Stuff at 800 x 1216, LIP at 473 x 473.

The paper counted Detectron2's ResNet, which has the stride of a stage in its first 1x1 convolution. torchvision's has
it in the 3x3 convolution, as is usual today, and costs 4.48 G more (1.05 G on LIP): `ours` are the multiply-adds with
torchvision's, and the paper's figures stand beside those with Detectron2's. On LIP a side of 473 is padded to 480,
which costs 3 per cent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsevision.models.published import CostRow, Figure, OperationCount, PublishedCosts, count_parameters

_COCO, _LIP = (800, 1216), (480, 480)
# What a stride in the 3x3 convolutions costs more, in G.
_STRIDE: dict[tuple[int, ...], float] = {_COCO: 4.4826624, _LIP: 1.0616832}


def figures(row: CostRow, model: Any, count: OperationCount) -> Sequence[Figure]:
    """Returns multiply-adds in G of the network, of it with the other stride, and of its neck; and the parameters."""
    total, paper, neck, paper_neck = row.stated
    # What is stated of LIP is for 473 x 473.
    exact, near = (0.04, 0.04) if row.size == _LIP else (0.001, 0.005)
    return (
        Figure("ours G", count.total / 1e9, total, tolerance=exact, digits=3),
        Figure("paper G", count.total / 1e9 - _STRIDE[row.size], paper, tolerance=near, digits=1),
        Figure("neck G", count.by_part["neck"] / 1e9, neck, tolerance=exact, digits=3),
        Figure("paper neck G", count.by_part["neck"] / 1e9, paper_neck, digits=1),
        Figure("parameters", count_parameters(model)),
    )


_CLASSES = {"num_classes": 20}
_ALL: dict[str, Any] = {"see": "all"}

ROWS: tuple[CostRow, ...] = (
    CostRow("COCO-Stuff FPN", "fpn_r50", (163.617177600, 159.0, 55.099392000, 55.1), size=_COCO),
    CostRow("COCO-Stuff VT-FPN", "vt_fpn_r50", (117.091770368, 113.0, 8.573984768, 8.5), size=_COCO),
    CostRow("COCO-Stuff VT-FPN, all tokens", "vt_fpn_r50", (118.134358016, None, 9.616572416, None), _ALL, _COCO),
    CostRow("COCO-Stuff FPN", "fpn_r101", (235.588812800, 231.0, 55.099392000, 55.1), size=_COCO),
    CostRow("COCO-Stuff VT-FPN", "vt_fpn_r101", (189.063405568, 185.0, 8.573984768, 8.5), size=_COCO),
    CostRow("LIP FPN", "fpn_r50", (38.388841664, 37.1, 12.893224960, 12.8), _CLASSES, _LIP),
    CostRow("LIP VT-FPN", "vt_fpn_r50", (27.592121536, 26.4, 2.096504832, 2.0), _CLASSES, _LIP),
    CostRow("LIP FPN", "fpn_r101", (55.434755264, 54.4, 12.893224960, 12.8), _CLASSES, _LIP),
    CostRow("LIP VT-FPN", "vt_fpn_r101", (44.638035136, 43.6, 2.096504832, 2.0), _CLASSES, _LIP),
)

COSTS = PublishedCosts(
    title="VT-FPN and FPN for segmentation (arXiv 2006.03677)",
    rows=ROWS,
    figures=figures,
    note="Beside the paper's figures stand counts with the stride in the first 1x1 convolutions of a stage, as "
    "Detectron2's ResNet has it; the networks here are torchvision's, 4.48 G more (1.06 G at 480x480).",
)
