"""A published table of costs beside this package's own counts, ready to be shown or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Account:
    """One family's table: `rows` under `columns`, the `summary` in a sentence, `records` as plain values for JSON.

    `agrees` says whether every row is within its tolerance.
    """

    family: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    summary: str
    records: Sequence[dict[str, Any]]
    agrees: bool
