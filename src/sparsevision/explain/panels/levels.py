"""Feature levels: maps of updated, expected and read tokens over the image, and a table of the levels."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsevision.drawing.palette import hexadecimal

from ..explanation import Explanation, Floats
from ..kinds import PanelKind
from ..level_overlays import level_colours
from ..levels import Level, Levels
from ..overlays import DENSITY_GAMMA
from ..page import as_text


def _content(explanation: Explanation) -> dict[str, Any]:
    levels = explanation.levels
    expected = max((float(level.expected.max()) for level in levels.each if level.expected is not None), default=0.0)
    read = max(float(level.read.max()) for level in levels.each)
    return {
        "reader": levels.reader,
        "selects": levels.selects,
        "colours": hexadecimal(level_colours(len(levels.each))),
        "levels": [_level(levels, level, expected, read) for level in levels.each],
    }


def _level(levels: Levels, level: Level, expected: float, read: float) -> dict[str, Any]:
    rows, columns = level.kept.shape
    return {
        "rows": rows, "columns": columns, "kept": int(level.kept.sum()), "share": round(levels.read_of(level), 4),
        "chosen": as_text(np.packbits(level.kept)),
        "expected": None if level.expected is None else _shades(level.expected, expected),
        "read": _shades(level.read, read),
    }  # fmt: skip


def _shades(values: Floats, most: float) -> str:
    """Writes a map as bytes on the colours' scale, which is finer where values are small."""
    shares = np.clip(values / (most or 1.0), 0, 1) ** DENSITY_GAMMA
    return as_text((255 * shares).round().astype(np.uint8))


PANEL = PanelKind(name="levels", needs=frozenset({"level_maps.read"}), content=_content)
