"""Published and measured costs of the detectors: Sparse DETR (arXiv 2111.14330) and the forms beside it.

"Published" is the GFLOPs column of the released README. It counts four operations for every sampled number and five
for every number of a layer or group norm besides the multiply-adds, and its dense rows are for another image size
than its sparse ones. `macs` and `with_heads` were measured on the released code with `torch.utils.flop_counter`,
halved, one image; that code forms every refined box twice, a box for every token of the first stage where ours forms
the queries' alone, and runs the encoder's heads in inference, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, prod
from typing import Any

from torch import nn

from sparsevision.models.published import CostRow, Figure, OperationCount, PublishedCosts, count_parameters

TOLERANCE = 0.01
# The released benchmark's counter, per number.
_PER_SAMPLED, _PER_NORMALISED = 4, 5
_STRIDES = (8, 16, 32, 64)
_DENSE, _FOUR_TO_THREE, _LONGEST = (850, 1040), (800, 1066), (800, 1333)

# Trained parameters in millions, with the encoder's heads, and the frozen ones on top.
PARAMETERS: Mapping[str, tuple[float, float]] = {
    "deformable_detr_r50": (39.85, 0.22), "deformable_detr_swin_t": (40.31, 0.30),
    "deformable_detr_efficient_r50": (40.83, 0.22), "deformable_detr_efficient_swin_t": (41.29, 0.30),
    **{f"sparse_detr_r50_{percent}": (41.71, 0.22) for percent in (10, 20, 30, 40, 50)},
    **{f"sparse_detr_swin_t_{percent}": (42.18, 0.30) for percent in (10, 20, 30, 40, 50)},
}  # fmt: skip


def figures(row: CostRow, model: Any, count: OperationCount) -> Sequence[Figure]:
    """Returns parameters, and multiply-adds in G without and with what the released code computes besides.

    Stated are `macs`, with a first-stage box for every token, `with_heads` with the encoder's heads, and the printed
    column.
    """
    macs, with_heads, published = row.stated
    trained, frozen = PARAMETERS[row.model]
    sampling = _PER_SAMPLED * count.sampled
    heads = encoder_head_macs(model, row.size)
    with_boxes = count.total + unread_box_macs(model, row.size)
    # The counter of the released benchmark, on the released code with its encoder heads switched off.
    alike = with_boxes + second_box_macs(model) + sampling + _PER_NORMALISED * count.normalised
    return (
        Figure("trained M", count_parameters(model, trained=True) / 1e6, trained, tolerance=0, digits=2),
        Figure("frozen M", count_parameters(model, trained=False) / 1e6, frozen, tolerance=0, digits=2),
        Figure("total G", count.total / 1e9, digits=2),
        Figure("with all boxes G", with_boxes / 1e9, macs, tolerance=TOLERANCE, digits=2),
        Figure("with encoder heads G", (with_boxes + heads) / 1e9, with_heads, tolerance=TOLERANCE, digits=2),
        Figure("published G", alike / 1e9, published, tolerance=TOLERANCE, digits=1),
        Figure("sampling G", sampling / 1e9, digits=2),
    )


def tokens_of(size: tuple[int, ...]) -> int:
    """Returns how many tokens four levels have for an image of (height, width)."""
    return sum(prod(ceil(side / stride) for side in size) for stride in _STRIDES)


def encoder_head_macs(model: Any, size: tuple[int, ...]) -> int:
    """Returns the multiply-adds of the encoder's heads, which the released code spends in inference, too."""
    updated = int(model.config.keep_ratio * tokens_of(size)) + 1
    return min(updated, tokens_of(size)) * _matrices(model.encoder_heads)


def unread_box_macs(model: Any, size: tuple[int, ...]) -> int:
    """Returns the multiply-adds of the first stage's boxes of tokens that become no query."""
    if model.config.queries == "learned":
        return 0
    head = model.proposal_head if model.proposal_head is not None else model.decoder_heads[0]
    return max(tokens_of(size) - int(model.config.num_queries), 0) * _matrices(head.box)


def second_box_macs(model: Any) -> int:
    """Returns the multiply-adds of the decoder's box networks, which the released code runs twice for every query."""
    boxes = [head.box for head in model.decoder_heads] if model.config.boxes == "refined" else []
    return model.config.num_queries * sum(map(_matrices, boxes))


def _matrices(module: nn.Module) -> int:
    """Returns the multiply-adds of a module's linear layers for one token."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.ndim == 2)


def _row(model: str, size: tuple[int, int], *stated: float | None) -> CostRow:
    return CostRow(model, model, stated, size=size)


ROWS: tuple[CostRow, ...] = (
    _row("deformable_detr_r50", _DENSE, None, None, 172.9),
    _row("deformable_detr_efficient_r50", _DENSE, None, None, 177.3),
    _row("deformable_detr_r50", _FOUR_TO_THREE, 163.96, None, None),
    _row("deformable_detr_efficient_r50", _FOUR_TO_THREE, 168.17, None, None),
    _row("sparse_detr_r50_10", _FOUR_TO_THREE, 105.02, 106.41, 105.4),
    _row("sparse_detr_r50_20", _FOUR_TO_THREE, 112.38, 115.15, 112.9),
    _row("sparse_detr_r50_30", _FOUR_TO_THREE, 119.74, 123.89, 120.5),
    _row("sparse_detr_r50_40", _FOUR_TO_THREE, 127.10, 132.64, 128.0),
    _row("sparse_detr_r50_50", _FOUR_TO_THREE, 134.45, 141.38, 135.6),
    CostRow("sparse_detr_r50_50 all", "sparse_detr_r50_50", (171.24, 185.09, None), {"keep_ratio": 1}, _FOUR_TO_THREE),
    _row("deformable_detr_r50", _LONGEST, 203.96, None, None),
    _row("deformable_detr_efficient_r50", _LONGEST, 209.15, None, None),
    _row("sparse_detr_r50_10", _LONGEST, 130.39, 132.12, None),
    _row("sparse_detr_r50_20", _LONGEST, 139.57, 143.02, None),
    _row("sparse_detr_r50_30", _LONGEST, 148.74, 153.92, None),
    _row("sparse_detr_r50_40", _LONGEST, 157.92, 164.83, None),
    _row("sparse_detr_r50_50", _LONGEST, 167.10, 175.73, None),
    _row("deformable_detr_swin_t", _DENSE, None, None, 180.4),
    _row("deformable_detr_efficient_swin_t", _DENSE, None, None, 184.8),
    _row("deformable_detr_swin_t", _FOUR_TO_THREE, 171.69, None, None),
    _row("sparse_detr_swin_t_10", _FOUR_TO_THREE, 112.75, None, 113.4),
    _row("sparse_detr_swin_t_20", _FOUR_TO_THREE, None, None, 121.0),
    _row("sparse_detr_swin_t_30", _FOUR_TO_THREE, None, None, 128.5),
    _row("sparse_detr_swin_t_40", _FOUR_TO_THREE, None, None, 136.1),
    _row("sparse_detr_swin_t_50", _FOUR_TO_THREE, 142.18, None, 143.7),
    _row("deformable_detr_swin_t", _LONGEST, 212.39, None, None),
    _row("sparse_detr_swin_t_10", _LONGEST, 138.82, None, None),
    _row("sparse_detr_swin_t_50", _LONGEST, 175.52, None, None),
)

COSTS = PublishedCosts(
    title="Multiply-adds of one image in G (1e9) and parameters in millions; the published column counts sampling and "
    "norms, too.",
    rows=ROWS,
    figures=figures,
    note="Parameters are compared to the printed digit, multiply-adds to one per cent.",
)
