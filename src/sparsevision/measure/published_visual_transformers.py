"""What was published of Visual Transformers' costs (arXiv 2006.03677): every row of its Tables 2 to 8.

"FLOPs" in the paper are multiply-adds. `macs` and `parameters` are those of the budget form, which was derived from the
published figures: they are met to the unit. Parameters of Tables 2 to 6 are printed cut off and not rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from sparsevision.factory import create_model
from sparsevision.measure.accounts import Account
from sparsevision.measure.operations import OperationCount, count_macs, count_parameters

SIZE = (224, 224)


@dataclass(frozen=True)
class Row:
    """One row: `model` with `config`, its counts, and the paper's figures in millions as printed, with a remark."""

    table: str
    model: str
    macs: int
    parameters: int
    published_macs: int
    published_parameters: float
    config: Mapping[str, Any] = field(default_factory=dict)
    remark: str = ""


@dataclass(frozen=True)
class Recount:
    """A row counted on this package's model."""

    row: Row
    parameters: int
    count: OperationCount

    @property
    def agrees(self) -> bool:
        """Whether multiply-adds and parameters agree to the unit."""
        return self.count.total == self.row.macs and self.parameters == self.row.parameters


_18, _34, _50, _101 = "vt_resnet18", "vt_resnet34", "vt_resnet50", "vt_resnet101"
_HALF: Mapping[str, Any] = {"recurrence": "half"}
_NOT_MET = "the paper's pair is not reproducible"

ROWS: tuple[Row, ...] = (
    Row("2 to 7", _18, 1_578_950_656, 11_671_592, 1579, 11.6),
    Row("3 pooling", _18, 1_549_688_832, 11_057_704, 1550, 11.0, {"tokenizer": "pool"}),
    Row("3 clustering", _18, 1_580_556_288, 11_667_496, 1580, 11.6, {"tokenizer": "cluster"}),
    Row("4 without recurrence", _18, 1_564_139_520, 11_120_680, 1564, 11.1, {"recurrence": "none"}),
    Row("5 none", _18, 1_527_832_576, 8_513_576, 1528, 8.5, {"relation": "none"}),
    Row("5 graph", _18, 1_528_356_864, 8_514_088, 1528, 8.5, {"relation": "graph"}),
    Row("6 L = 32", _18, 1_710_972_928, 11_675_688, 1711, 11.6, {"num_tokens": 32}),
    Row("6 L = 64", _18, 1_979_736_064, 11_683_880, 1979, 11.6, {"num_tokens": 64}),
    Row("7 without projector", _18, 1_497_227_264, 9_352_232, 1497, 9.3, {"projector": "none"}),
    Row("2 to 7", _34, 3_299_008_512, 21_892_392, 3299, 21.8),
    Row("3 pooling", _34, 3_245_301_760, 20_685_608, 3246, 20.6, {"tokenizer": "pool"}),
    Row("3 clustering", _34, 3_300_614_144, 21_888_296, 3230, 21.8, {"tokenizer": "cluster"}, "3230: misprint of 3300"),
    Row("4 without recurrence", _34, 3_269_386_240, 20_790_568, 3369, 20.7, {"recurrence": "none"},
        "3369: misprint of 3269"),
    Row("5 none", _34, 3_222_331_392, 17_155_368, 3222, 17.1, {"relation": "none"}),
    Row("5 graph", _34, 3_223_117_824, 17_156_136, 3223, 17.1, {"relation": "graph"}),
    Row("6 L = 32", _34, 3_514_130_432, 21_896_488, 3514, 21.8, {"num_tokens": 32}),
    Row("6 L = 64", _34, 3_951_452_160, 21_904_680, 3951, 21.8, {"num_tokens": 64}),
    Row("7 without projector", _34, 3_158_040_576, 17_369_384, 3158, 17.3, {"projector": "none"}),
    Row("8", _18, 1_568_956_416, 11_671_592, 1569, 11.7, _HALF),
    Row("8", _34, 3_279_020_032, 21_892_392, 3236, 19.2, _HALF, _NOT_MET),
    Row("8", _50, 3_571_867_648, 22_149_160, 3412, 21.4, _HALF, _NOT_MET),
    Row("8", _101, 7_284_088_832, 41_141_288, 7129, 41.5, _HALF, _NOT_MET),
    Row("8 full recurrence", _50, 3_595_067_392, 22_149_160, 3412, 21.4, {}, _NOT_MET),
    Row("8 full recurrence", _101, 7_307_288_576, 41_141_288, 7129, 41.5, {}, _NOT_MET),
)  # fmt: skip


def recount(rows: Iterable[Row] = ROWS) -> Iterator[Recount]:
    """Builds every row's model on the meta device and counts it; nothing is computed."""
    for row in rows:
        with torch.device("meta"):
            model = create_model(row.model, **row.config)
        yield Recount(row, count_parameters(model), count_macs(model, (3, *SIZE)))


COLUMNS = ("table", "model", "MACs", "spec", "paper M", "params", "spec", "paper M", "agrees", "remark")


def cells(one: Recount) -> tuple[str, ...]:
    """Returns a recounted row as the texts of a table's row, in the order of `COLUMNS`."""
    row = one.row
    return (
        row.table, row.model,
        f"{one.count.total:,}", f"{row.macs:,}", f"{row.published_macs:,}",
        f"{one.parameters:,}", f"{row.parameters:,}", f"{row.published_parameters:.1f}",
        "yes" if one.agrees else "NO", row.remark,
    )  # fmt: skip


def summary(counted: Sequence[Recount]) -> str:
    """Says in a sentence how many rows agree, and which of the paper's figures cannot be met."""
    agreeing = sum(one.agrees for one in counted)
    return (
        f"{agreeing} of {len(counted)} rows agree to the unit. The paper's figures for VT-R34, VT-R50 and VT-R101 in "
        "its Table 8 are not reproducible: no code was released, and no widths, groups, resolution or depth of the "
        "token network that were tried give its multiply-adds and parameters at once (VT-R34's of Table 2 are met)."
    )


def as_record(one: Recount) -> dict[str, Any]:
    """Returns a recounted row as plain values for JSON."""
    return {
        **asdict(one.row), "counted": one.count.total, "counted_parameters": one.parameters, "agrees": one.agrees,
    }  # fmt: skip


def account() -> Account:
    """Counts all rows and lays them out."""
    counted = list(recount())
    return Account(
        "visual_transformer",
        "Visual Transformers (arXiv 2006.03677), 224x224",
        COLUMNS,
        [cells(one) for one in counted],
        summary(counted),
        [as_record(one) for one in counted],
        all(one.agrees for one in counted),
    )
