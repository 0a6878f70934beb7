"""Published and measured costs of the detectors: Sparse DETR (arXiv 2111.14330) and the forms beside it.

"Published" is the GFLOPs column of the released README. It counts four operations for every sampled number and five
for every number of a layer or group norm besides the multiply-adds, and its dense rows are for another image size
than its sparse ones. `macs` and `with_heads` were measured on the released code with `torch.utils.flop_counter`,
halved, one image; that code forms every refined box twice, and runs the encoder's heads in inference, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class DetectorCostRow(CostRow):
    """The figures of a row, in G; None where there is none.

    `macs` are without the encoder's heads, `with_heads` with them; `published` is the printed column.
    """

    macs: float | None = None
    with_heads: float | None = None
    published: float | None = None

    def figures(self, model: Any, count: OperationCount) -> Sequence[Figure]:
        """Returns parameters, and multiply-adds without and with what the released code computes besides."""
        trained, frozen = PARAMETERS[self.model]
        with_heads = count.total + encoder_head_macs(model, self.size)
        sampling = _PER_SAMPLED * count.sampled
        # The counter of the released benchmark, on the released code with its encoder heads switched off.
        alike = count.total + second_box_macs(model) + sampling + _PER_NORMALISED * count.normalised
        millions: dict[str, Any] = {"tolerance": 0, "digits": 2}
        counts: dict[str, Any] = {"tolerance": TOLERANCE, "digits": 2}
        return (
            Figure(name="trained M", counted=count_parameters(model, trained=True) / 1e6, stated=trained, **millions),
            Figure(name="frozen M", counted=count_parameters(model, trained=False) / 1e6, stated=frozen, **millions),
            Figure(name="total G", counted=count.total / 1e9, stated=self.macs, **counts),
            Figure(name="with encoder heads G", counted=with_heads / 1e9, stated=self.with_heads, **counts),
            Figure(name="published G", counted=alike / 1e9, stated=self.published, tolerance=TOLERANCE, digits=1),
            Figure(name="sampling G", counted=sampling / 1e9, digits=2),
        )


def tokens_of(size: tuple[int, int]) -> int:
    """Returns how many tokens four levels have for an image of (height, width)."""
    return sum(prod(ceil(side / stride) for side in size) for stride in _STRIDES)


def encoder_head_macs(model: Any, size: tuple[int, int]) -> int:
    """Returns the multiply-adds of the encoder's heads, which the released code spends in inference, too."""
    updated = int(model.config.keep_ratio * tokens_of(size)) + 1
    return min(updated, tokens_of(size)) * _matrices(model.encoder_heads)


def second_box_macs(model: Any) -> int:
    """Returns the multiply-adds of the decoder's box networks, which the released code runs twice for every query."""
    boxes = [head.box for head in model.decoder_heads] if model.config.boxes == "refined" else []
    return model.config.num_queries * sum(map(_matrices, boxes))


def _matrices(module: nn.Module) -> int:
    """Returns the multiply-adds of a module's linear layers for one token."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.ndim == 2)


def _row(
    model: str, size: tuple[int, int], macs: float | None = None, with_heads: float | None = None,
    published: float | None = None, keep_ratio: float | None = None,
) -> DetectorCostRow:  # fmt: skip
    config = {} if keep_ratio is None else {"keep_ratio": keep_ratio}
    kept = "" if keep_ratio is None else f" keep_ratio={keep_ratio:g}"
    return DetectorCostRow(
        name=model + kept, model=model, size=size, macs=macs, with_heads=with_heads, published=published, config=config
    )


ROWS: tuple[DetectorCostRow, ...] = (
    _row("deformable_detr_r50", _DENSE, published=172.9),
    _row("deformable_detr_efficient_r50", _DENSE, published=177.3),
    _row("deformable_detr_r50", _FOUR_TO_THREE, 163.96),
    _row("deformable_detr_efficient_r50", _FOUR_TO_THREE, 168.17),
    _row("sparse_detr_r50_10", _FOUR_TO_THREE, 105.02, 106.41, 105.4),
    _row("sparse_detr_r50_20", _FOUR_TO_THREE, 112.38, 115.15, 112.9),
    _row("sparse_detr_r50_30", _FOUR_TO_THREE, 119.74, 123.89, 120.5),
    _row("sparse_detr_r50_40", _FOUR_TO_THREE, 127.10, 132.64, 128.0),
    _row("sparse_detr_r50_50", _FOUR_TO_THREE, 134.45, 141.38, 135.6),
    _row("sparse_detr_r50_50", _FOUR_TO_THREE, 171.24, 185.09, keep_ratio=1.0),
    _row("deformable_detr_r50", _LONGEST, 203.96),
    _row("deformable_detr_efficient_r50", _LONGEST, 209.15),
    _row("sparse_detr_r50_10", _LONGEST, 130.39, 132.12),
    _row("sparse_detr_r50_20", _LONGEST, 139.57, 143.02),
    _row("sparse_detr_r50_30", _LONGEST, 148.74, 153.92),
    _row("sparse_detr_r50_40", _LONGEST, 157.92, 164.83),
    _row("sparse_detr_r50_50", _LONGEST, 167.10, 175.73),
    _row("deformable_detr_swin_t", _DENSE, published=180.4),
    _row("deformable_detr_efficient_swin_t", _DENSE, published=184.8),
    _row("deformable_detr_swin_t", _FOUR_TO_THREE, 171.69),
    _row("sparse_detr_swin_t_10", _FOUR_TO_THREE, 112.75, published=113.4),
    _row("sparse_detr_swin_t_20", _FOUR_TO_THREE, published=121.0),
    _row("sparse_detr_swin_t_30", _FOUR_TO_THREE, published=128.5),
    _row("sparse_detr_swin_t_40", _FOUR_TO_THREE, published=136.1),
    _row("sparse_detr_swin_t_50", _FOUR_TO_THREE, 142.18, published=143.7),
    _row("deformable_detr_swin_t", _LONGEST, 212.39),
    _row("sparse_detr_swin_t_10", _LONGEST, 138.82),
    _row("sparse_detr_swin_t_50", _LONGEST, 175.52),
)

COSTS = PublishedCosts(
    title="Multiply-adds of one image in G (1e9) and parameters in millions; the published column counts sampling and "
    "norms, too.",
    rows=ROWS,
    note="Parameters are compared to the printed digit, multiply-adds to one per cent.",
)
