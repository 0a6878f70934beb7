"""Numbers and names of things, as sentences say them."""

from __future__ import annotations

from collections.abc import Sequence


def count_of(number: int, one: str, many: str = "") -> str:
    """Counts things: "1 image", "1,200 images"; `many` is the plural where it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def some_of(names: Sequence[str], most: int = 5) -> str:
    """Names the first of several things, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
