"""What was published and measured of SparseFormer's costs: every image row of the tables as a configuration.

"Paper" is arXiv 2304.03768; the printed figures leave out the two batched products of adaptive mixing, which the
counter used there most likely did not know. `macs` and `mixing` were measured on the released code with
`torch.utils.flop_counter`, halved, one picture, 1000 classes, attention unfused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from sparsevision.factory import create_model
from sparsevision.measure.accounts import Account
from sparsevision.measure.operations import OperationCount, count_macs, count_parameters, sampling_of

TOLERANCE = 0.01


@dataclass(frozen=True)
class Row:
    """One row: `model` with `config` overrides at `size` (height, width), and the figures it is held against, in G.

    `mixing` is None where the reference counted the mixing's products among all others, so that its count without
    them is the whole count; `paper` is None where no paper gives a figure; `unused` are parameters of the reference's
    model that take no part in its answer, and that ours does not have.
    """

    name: str
    model: str
    parameters: int
    paper: float | None
    macs: float
    mixing: float | None
    sampling: float
    config: Mapping[str, Any] = field(default_factory=dict)
    size: tuple[int, int] = (224, 224)
    unused: int = 0


@dataclass(frozen=True)
class Recount:
    """A row counted on this package's model: `parameters`, operations, and the sampling by hand."""

    row: Row
    parameters: int
    count: OperationCount
    sampling: int

    @property
    def ratio(self) -> float:
        """Our multiply-adds over the reference's."""
        return self.count.total / (self.row.macs * 1e9)

    @property
    def without_mixing(self) -> int:
        """Our multiply-adds without the products of mixing, or all of them where the reference counted those too."""
        return self.count.total if self.row.mixing is None else self.count.without_mixing

    @property
    def reference_without_mixing(self) -> float:
        """The reference's multiply-adds without the products of mixing, in G."""
        return self.row.macs - (self.row.mixing or 0.0)

    @property
    def ratio_without_mixing(self) -> float:
        """The ratio without the products of mixing, on both sides."""
        return self.without_mixing / (self.reference_without_mixing * 1e9)

    @property
    def agrees(self) -> bool:
        """Whether parameters agree to the unit and both counts within one per cent."""
        close = all(abs(ratio - 1) <= TOLERANCE for ratio in (self.ratio, self.ratio_without_mixing))
        return close and self.parameters == self.row.parameters - self.row.unused


_TINY, _SMALL, _BASE = "sparseformer_tiny", "sparseformer_small", "sparseformer_base"

ROWS: tuple[Row, ...] = (
    Row("T1 T", _TINY, 31_522_212, 2.0, 2.178, 0.112, 0.0034),
    Row("T1 S", _SMALL, 47_575_056, 3.8, 3.990, 0.146, 0.0044),
    Row("T1 B", _BASE, 81_076_996, 7.8, 7.987, 0.185, 0.0056),
    Row("T3a N=9", _TINY, 31_511_812, 0.5, 0.541, 0.021, 0.0006, {"num_tokens": 9}),
    Row("T3a N=16", _TINY, 31_513_632, 0.8, 0.825, 0.036, 0.0011, {"num_tokens": 16}),
    Row("T3a N=25", _TINY, 31_515_972, 1.1, 1.192, 0.057, 0.0017, {"num_tokens": 25}),
    Row("T3a N=36", _TINY, 31_518_832, 1.6, 1.642, 0.082, 0.0025, {"num_tokens": 36}),
    Row("T3a N=49", _TINY, 31_522_212, 2.0, 2.178, 0.112, 0.0034, {"num_tokens": 49}),
    Row("T3a N=64", _TINY, 31_526_112, 2.7, 2.800, 0.146, 0.0044, {"num_tokens": 64}),
    Row("T3a N=81", _TINY, 31_530_532, 3.3, 3.510, 0.185, 0.0056, {"num_tokens": 81}),
    # Measured with the layers of adjustment and offsets in place, though "nil" fixes what they would move.
    Row("T3b nil", _TINY, 29_006_472, 1.6, 1.610, 0.022, 0.0007, {"focusing_repeats": 0}, unused=41_032),
    Row("T3b L=1", _TINY, 31_522_212, 1.7, 1.757, 0.045, 0.0014, {"focusing_repeats": 1}),
    Row("T3b L=4", _TINY, 31_522_212, 2.0, 2.178, 0.112, 0.0034, {"focusing_repeats": 4}),
    Row("T3b L=8", _TINY, 31_522_212, 2.5, 2.738, 0.201, 0.0061, {"focusing_repeats": 8}),
    Row("T3c P=16", _TINY, 29_815_052, 1.9, 1.941, 0.042, 0.0015, {"num_points": 16}),
    Row("T3c P=36", _TINY, 31_522_212, 2.0, 2.178, 0.112, 0.0034, {"num_points": 36}),
    Row("T3c P=64", _TINY, 34_172_972, 2.3, 2.566, 0.241, 0.0060, {"num_points": 64}),
    Row("T3d RGB", _TINY, 27_150_396, 1.5, 1.465, 0.001, 0.0001, {"image_feature": "rgb"}),
    Row("T3d ViT/8", _TINY, 31_526_532, 1.9, 2.015, 0.112, 0.0034, {"image_feature": "patch"}),
    Row("T3d early conv", _TINY, 31_522_212, 2.0, 2.178, 0.112, 0.0034, {"image_feature": "early_conv"}),
    Row("T3e linear", _TINY, 29_398_972, 1.9, 1.862, None, 0.0034, {"decoding": "linear"}),
    Row("T3e static", _TINY, 29_420_260, 1.9, 1.973, None, 0.0034, {"decoding": "static"}),
    Row("T3e adaptive", _TINY, 31_522_212, 2.0, 2.178, 0.112, 0.0034, {"decoding": "adaptive"}),
    Row("T4 B 384", _BASE, 81_076_996, 8.2, 8.330, 0.185, 0.0056, size=(384, 384)),
    Row("T4 B 512", _BASE, 81_076_996, 8.6, 8.735, 0.185, 0.0056, size=(512, 512)),
    Row("T4 B N144 384", _BASE, 81_101_440, 14.2, 14.572, 0.328, 0.0100, {"num_tokens": 144}, (384, 384)),
    Row("T4 B N196 384", _BASE, 81_121_616, 19.4, 19.833, 0.447, 0.0135, {"num_tokens": 196}, (384, 384)),
    Row("T7 S N400 800x1333", _SMALL, 47_683_920, 27.0, 29.316, 0.912, 0.0276, {"num_tokens": 400}, (800, 1333)),
    Row("T7 S N400 800x1066", _SMALL, 47_683_920, 27.0, 28.559, 0.912, 0.0276, {"num_tokens": 400}, (800, 1066)),
    Row("T8 T N49 512", _TINY, 31_522_212, 33.0, 2.925, 0.112, 0.0034, {"num_tokens": 49}, (512, 512)),
    Row("T8 T N256 512", _TINY, 31_576_032, 39.0, 11.917, 0.584, 0.0177, {"num_tokens": 256}, (512, 512)),
    Row("T8 T N400 512", _TINY, 31_613_472, 43.0, 18.690, 0.912, 0.0276, {"num_tokens": 400}, (512, 512)),
    Row("bootstrapped augreg base", "sparseformer_augreg_base", 64_185_448, None, 3.778, None, 0.0010),
    Row("bootstrapped augreg large", "sparseformer_augreg_large", 212_426_984, None, 11.343, None, 0.0010),
    Row("bootstrapped CLIP base", "sparseformer_clip_base", 63_809_664, None, 3.778, None, 0.0010),
    Row("bootstrapped CLIP large", "sparseformer_clip_large", 212_188_476, None, 14.823, None, 0.0013),
    Row("v2 tiny", _TINY, 31_522_212, 2.0, 2.178, 0.112, 0.0034, {"numerics": "v2"}),
)


def recount(rows: Iterable[Row] = ROWS) -> Iterator[Recount]:
    """Builds every row's model on the meta device and counts it; nothing is computed, so all rows take seconds."""
    counted: dict[tuple[Any, tuple[int, int]], OperationCount] = {}
    for row in rows:
        with torch.device("meta"):
            model = create_model(row.model, **row.config)
        # Tables 3 and 8 repeat the ordinary model under other names.
        key = (model.config, row.size)
        if key not in counted:
            counted[key] = count_macs(model, (3, *row.size))
        yield Recount(row, count_parameters(model), counted[key], sampling_of(model))


COLUMNS = (
    "row", "params", "paper", "spec", "ours", "ratio", "spec w/o mixing", "ours w/o mixing", "ratio w/o mixing",
    "sampling", "agrees",
)  # fmt: skip


def cells(one: Recount) -> tuple[str, ...]:
    """Returns a recounted row as the texts of a table's row, in the order of `COLUMNS`."""
    row = one.row
    return (
        row.name,
        f"{one.parameters:,}" + ("" if one.parameters == row.parameters else f" (reference {row.parameters:,})"),
        "-" if row.paper is None else f"{row.paper:.1f}",
        f"{row.macs:.3f}",
        f"{one.count.total / 1e9:.3f}",
        f"{one.ratio:.4f}",
        f"{one.reference_without_mixing:.3f}",
        f"{one.without_mixing / 1e9:.3f}",
        f"{one.ratio_without_mixing:.4f}",
        f"{one.sampling / 1e9:.4f}",
        "yes" if one.agrees else "NO",
    )


def summary(counted: Sequence[Recount]) -> str:
    """Says in a sentence how many rows agree and how far the farthest is off."""
    agreeing = sum(one.agrees for one in counted)
    farthest = max((abs(ratio - 1) for one in counted for ratio in (one.ratio, one.ratio_without_mixing)), default=0.0)
    return (
        f"{agreeing} of {len(counted)} rows agree: parameters to the unit, multiply-adds within {TOLERANCE:.0%} "
        f"(the farthest is {farthest:.2%} off)."
    )


def as_record(one: Recount) -> dict[str, Any]:
    """Returns a recounted row as plain values for JSON."""
    counts = {"counted": one.count.total, "counted_without_mixing": one.without_mixing, "sampling": one.sampling}
    return {**asdict(one.row), "counted_parameters": one.parameters, **counts, "agrees": one.agrees}


def account() -> Account:
    """Counts every row and returns the table."""
    counted = list(recount())
    return Account(
        "sparseformer", "Multiply-adds of one picture in G (1e9), with and without the products of mixing.", COLUMNS,
        [cells(one) for one in counted], summary(counted), [as_record(one) for one in counted],
        all(one.agrees for one in counted),
    )  # fmt: skip
