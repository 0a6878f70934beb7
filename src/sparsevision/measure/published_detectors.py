"""What was published and measured of the detectors' costs: Sparse DETR (arXiv 2111.14330) and the forms beside it.

"Published" is the GFLOPs column of the released README. It counts four operations for every sampled number and five
for every number of a layer or group norm besides the multiply-adds, and its dense rows are for another picture size
than its sparse ones. `macs` and `with_heads` were measured on the released code with `torch.utils.flop_counter`,
halved, one picture; that code forms every refined box twice, and runs the encoder's heads in inference, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, prod
from typing import Any

import torch
from torch import nn

from sparsevision.factory import create_model
from sparsevision.measure.accounts import Account
from sparsevision.measure.operations import OperationCount, count_macs, count_parameters

TOLERANCE = 0.01
# The released benchmark's counter, per number.
_PER_SAMPLED, _PER_NORMALISED = 4, 5
_STRIDES = (8, 16, 32, 64)
_DENSE, _FOUR_TO_THREE, _LONGEST = (850, 1040), (800, 1066), (800, 1333)


@dataclass(frozen=True)
class Row:
    """One row: a `model` at `size` (height, width), and the figures it is held against, in G; None where there is none.

    `macs` are without the encoder's heads, `with_heads` with them; `published` is the printed column.
    """

    model: str
    size: tuple[int, int]
    macs: float | None = None
    with_heads: float | None = None
    published: float | None = None
    keep_ratio: float | None = None


# Trained parameters in millions, with the encoder's heads, and the frozen ones on top.
PARAMETERS: Mapping[str, tuple[float, float]] = {
    "deformable_detr_r50": (39.85, 0.22), "deformable_detr_swin_t": (40.31, 0.30),
    "deformable_detr_efficient_r50": (40.83, 0.22), "deformable_detr_efficient_swin_t": (41.29, 0.30),
    **{f"sparse_detr_r50_{percent}": (41.71, 0.22) for percent in (10, 20, 30, 40, 50)},
    **{f"sparse_detr_swin_t_{percent}": (42.18, 0.30) for percent in (10, 20, 30, 40, 50)},
}  # fmt: skip

ROWS: tuple[Row, ...] = (
    Row("deformable_detr_r50", _DENSE, published=172.9),
    Row("deformable_detr_efficient_r50", _DENSE, published=177.3),
    Row("deformable_detr_r50", _FOUR_TO_THREE, 163.96),
    Row("deformable_detr_efficient_r50", _FOUR_TO_THREE, 168.17),
    Row("sparse_detr_r50_10", _FOUR_TO_THREE, 105.02, 106.41, 105.4),
    Row("sparse_detr_r50_20", _FOUR_TO_THREE, 112.38, 115.15, 112.9),
    Row("sparse_detr_r50_30", _FOUR_TO_THREE, 119.74, 123.89, 120.5),
    Row("sparse_detr_r50_40", _FOUR_TO_THREE, 127.10, 132.64, 128.0),
    Row("sparse_detr_r50_50", _FOUR_TO_THREE, 134.45, 141.38, 135.6),
    Row("sparse_detr_r50_50", _FOUR_TO_THREE, 171.24, 185.09, keep_ratio=1.0),
    Row("deformable_detr_r50", _LONGEST, 203.96),
    Row("deformable_detr_efficient_r50", _LONGEST, 209.15),
    Row("sparse_detr_r50_10", _LONGEST, 130.39, 132.12),
    Row("sparse_detr_r50_20", _LONGEST, 139.57, 143.02),
    Row("sparse_detr_r50_30", _LONGEST, 148.74, 153.92),
    Row("sparse_detr_r50_40", _LONGEST, 157.92, 164.83),
    Row("sparse_detr_r50_50", _LONGEST, 167.10, 175.73),
    Row("deformable_detr_swin_t", _DENSE, published=180.4),
    Row("deformable_detr_efficient_swin_t", _DENSE, published=184.8),
    Row("deformable_detr_swin_t", _FOUR_TO_THREE, 171.69),
    Row("sparse_detr_swin_t_10", _FOUR_TO_THREE, 112.75, published=113.4),
    Row("sparse_detr_swin_t_20", _FOUR_TO_THREE, published=121.0),
    Row("sparse_detr_swin_t_30", _FOUR_TO_THREE, published=128.5),
    Row("sparse_detr_swin_t_40", _FOUR_TO_THREE, published=136.1),
    Row("sparse_detr_swin_t_50", _FOUR_TO_THREE, 142.18, published=143.7),
    Row("deformable_detr_swin_t", _LONGEST, 212.39),
    Row("sparse_detr_swin_t_10", _LONGEST, 138.82),
    Row("sparse_detr_swin_t_50", _LONGEST, 175.52),
)


@dataclass(frozen=True)
class Recount:
    """A row counted on this package's model.

    `trained` and `frozen` are parameters; `encoder_heads` and `second_boxes` multiply-adds that the released code
    spends in inference and this package does not.
    """

    row: Row
    trained: int
    frozen: int
    count: OperationCount
    encoder_heads: int
    second_boxes: int

    @property
    def sampling(self) -> int:
        """Operations of bilinear sampling: four per number read."""
        return _PER_SAMPLED * self.count.sampled

    @property
    def as_published(self) -> int:
        """What the released benchmark's counter says of the released code, its encoder heads switched off."""
        norms = _PER_NORMALISED * self.count.normalised
        return self.count.total + self.second_boxes + self.sampling + norms

    @property
    def ratios(self) -> list[float]:
        """Our counts over the row's figures."""
        ours = (self.count.total, self.count.total + self.encoder_heads, self.as_published)
        figures = (self.row.macs, self.row.with_heads, self.row.published)
        return [count / (figure * 1e9) for count, figure in zip(ours, figures, strict=True) if figure is not None]

    @property
    def agrees(self) -> bool:
        """Whether parameters agree to the printed digit and every count within one per cent."""
        parameters = tuple(round(count / 1e6, 2) for count in (self.trained, self.frozen))
        return parameters == PARAMETERS[self.row.model] and all(abs(ratio - 1) <= TOLERANCE for ratio in self.ratios)


def recount(rows: Iterable[Row] = ROWS) -> Iterator[Recount]:
    """Builds every row's model on the meta device and counts it; nothing is computed."""
    for row in rows:
        asked: dict[str, Any] = {} if row.keep_ratio is None else {"keep_ratio": row.keep_ratio}
        with torch.device("meta"):
            model: Any = create_model(row.model, **asked)
        trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        updated = int(model.config.keep_ratio * tokens_of(row.size)) + 1
        # The box networks of the decoder's heads, each once for every query.
        boxes = [head.box for head in model.decoder_heads] if model.config.boxes == "refined" else []
        yield Recount(
            row,
            trained,
            count_parameters(model) - trained,
            count_macs(model, (3, *row.size)),
            min(updated, tokens_of(row.size)) * _matrices(model.encoder_heads),
            model.config.num_queries * sum(map(_matrices, boxes)),
        )


def tokens_of(size: tuple[int, int]) -> int:
    """Returns how many tokens four levels have for a picture of (height, width)."""
    return sum(prod(ceil(side / stride) for side in size) for stride in _STRIDES)


def _matrices(module: nn.Module) -> int:
    """Returns the multiply-adds of a module's linear layers for one token."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.ndim == 2)


COLUMNS = (
    "model", "size", "params M", "spec", "ours", "spec with enc. heads", "ours", "published", "counted alike",
    "sampling", "agrees",
)  # fmt: skip


def cells(one: Recount) -> tuple[str, ...]:
    """Returns a recounted row as the texts of a table's row, in the order of `COLUMNS`."""
    row = one.row

    def pair(figure: float | None, count: int, digits: int) -> tuple[str, str]:
        return ("", "") if figure is None else (f"{figure:.{digits}f}", f"{count / 1e9:.{digits}f}")

    kept = "" if row.keep_ratio is None else f" keep_ratio={row.keep_ratio:g}"
    return (
        row.model + kept,
        f"{row.size[0]}x{row.size[1]}",
        f"{one.trained / 1e6:.2f} + {one.frozen / 1e6:.2f}",
        "" if row.macs is None else f"{row.macs:.2f}",
        f"{one.count.total / 1e9:.2f}",
        *pair(row.with_heads, one.count.total + one.encoder_heads, 2),
        *pair(row.published, one.as_published, 1),
        f"{one.sampling / 1e9:.2f}",
        "yes" if one.agrees else "NO",
    )


def summary(counted: Sequence[Recount]) -> str:
    """Says in a sentence how many rows agree and how far the farthest is off."""
    agreeing = sum(one.agrees for one in counted)
    farthest = max((abs(ratio - 1) for one in counted for ratio in one.ratios), default=0.0)
    return (
        f"{agreeing} of {len(counted)} rows agree: parameters to the printed digit, multiply-adds within "
        f"{TOLERANCE:.0%} (the farthest is {farthest:.2%} off)."
    )


def as_record(one: Recount) -> dict[str, Any]:
    """Returns a recounted row as plain values for JSON."""
    counts = {
        "counted": one.count.total, "counted_with_heads": one.count.total + one.encoder_heads,
        "counted_as_published": one.as_published, "sampling": one.sampling,
    }  # fmt: skip
    return {**asdict(one.row), "trained": one.trained, "frozen": one.frozen, **counts, "agrees": one.agrees}


def account() -> Account:
    """Counts every row and returns the table."""
    counted = list(recount())
    title = (
        "Multiply-adds of one picture in G (1e9); parameters trained + frozen, in millions; the published column "
        "counts sampling and norms, too."
    )
    rows, records = [cells(one) for one in counted], [as_record(one) for one in counted]
    return Account("sparse_detr", title, COLUMNS, rows, summary(counted), records, all(one.agrees for one in counted))
