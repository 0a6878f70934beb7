"""Published costs: what a paper or a released code states of a model's multiply-adds and parameters, row by row."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class OperationCount:
    """Multiply-adds of one forward pass.

    `total` is everything counted; `mixing` the batched products whose two factors the network generates, which are in
    `total` too (some counters know no rule for them, and papers leave them out); `by_kind` splits the total by
    operator, and `by_part` by the network's own parts, of which one that another calls counts in both. Not in the total
    are `sampled`, the numbers that bilinear sampling reads, and `normalised`, those that layer and group norms produce.
    """

    total: int
    mixing: int = 0
    by_kind: Mapping[str, int] = field(default_factory=dict)
    by_part: Mapping[str, int] = field(default_factory=dict)
    sampled: int = 0
    normalised: int = 0

    @property
    def without_mixing(self) -> int:
        """The count of a counter that has no rule for the batched products of mixing."""
        return self.total - self.mixing


@dataclass(frozen=True)
class Figure:
    """A published number beside the one that is counted here; `digits` are printed behind the point.

    `tolerance` is the share by which the two may differ, 0 for equality in the printed digits; None: not compared.
    """

    name: str
    counted: float
    stated: float | None = None
    _: KW_ONLY
    tolerance: float | None = None
    digits: int = 0

    @property
    def difference(self) -> float:
        """The share by which the compared numbers differ."""
        return 0.0 if self.stated is None or self.tolerance is None else abs(self.counted / self.stated - 1)

    @property
    def agrees(self) -> bool:
        """Whether the numbers agree, if they are compared."""
        exact = self.tolerance == 0 and self.stated is not None
        return round(self.counted, self.digits) == self.stated if exact else self.difference <= (self.tolerance or 0)


@dataclass(frozen=True)
class CostRow:
    """One row of a published table: `model` with `config` overrides for images of `size` (height, width).

    Of clips `size` is (frames, height, width).

    `stated` are its numbers in the order of its family's figures, None where none was published.
    """

    name: str
    model: str
    stated: Sequence[float | None]
    config: Mapping[str, Any] = field(default_factory=dict)
    size: tuple[int, ...] = (224, 224)
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class PublishedCosts:
    """The rows of one family, the `figures` of a row and its model, and what a reader of the table needs to know."""

    title: str
    rows: Sequence[CostRow]
    figures: Callable[[CostRow, Any, OperationCount], Sequence[Figure]]
    note: str = ""


@cache
def counted_parameters() -> Mapping[str, int]:
    """Returns the number of parameters of this package's models, which are built for it in the tests alone."""
    return json.loads(Path(__file__).with_name("parameters.json").read_text(encoding="utf-8"))


def count_parameters(model: Any, *, trained: bool | None = None) -> int:
    """Returns the number of parameters, shared ones once; of those alone that are `trained`, or are not."""
    return sum(one.numel() for one in model.parameters() if trained is None or one.requires_grad == trained)
