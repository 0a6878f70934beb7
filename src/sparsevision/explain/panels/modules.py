"""Maps of visual tokens, module by module: the cells of each token, of those that it attends to, and that get it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..explanation import Explanation, Floats
from ..kinds import PanelKind
from ..page import as_text
from ..token_maps import Module, brightest, entropy


def _content(explanation: Explanation) -> dict[str, Any]:
    return {"modules": [_module(module) for module in explanation.modules]}


def _module(module: Module) -> dict[str, Any]:
    maps = {"read": module.read, "interaction": module.interaction, "given": module.given}
    return {
        "title": module.title,
        "grid": module.any.shape[1:],
        "count": len(module.any),
        "share": None if module.given is None else [round(float(each.mean()), 4) for each in module.given],
        "even": round(module.even, 3),
        "entropy": {
            name: [round(float(value), 3) for value in entropy(each)] for name, each in maps.items() if each is not None
        },
        **{name: None if each is None else _packed(each) for name, each in maps.items()},
    }


def _packed(maps: Floats) -> dict[str, Any]:
    """Packs maps (L, H, W) in 65,535 steps of the highest value, with the one at which colours end."""
    most = float(maps.max()) or 1.0
    return {
        "most": most,
        "scale": brightest(maps),
        "values": as_text((maps / most * 65535).round().astype(np.dtype("<u2"))),
    }


PANEL = PanelKind(name="modules", needs=frozenset({"token_maps"}), content=_content, view=True)
