"""The page of a classifier of visual tokens, on which a person steps through the modules and sees each token's map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsevision.errors import ConfigError

from .attention_look import AttentionLook, TokenMaps, entropy
from .look import Floats
from .page_writing import TITLE, as_text, packed_classes, picture_content, write_page


def save_attention_page(
    looks: Sequence[AttentionLook], path: Path | str, *, title: str = TITLE, model: str = ""
) -> Path:
    """Writes a self-contained page about one or more pictures; see `page.save_page`.

    Raises:
        ConfigError: there is no picture, or one has no trace of the tokens' attention.
    """
    if not looks:
        raise ConfigError("A page needs at least one picture; received none.")
    return write_page(path, "attention", title, {"model": model, "pictures": [_picture(look) for look in looks]})


def _picture(look: AttentionLook) -> dict[str, Any]:
    return picture_content(look) | {
        "classes": packed_classes(look),
        "modules": [_module(module) for module in look.modules],
    }


def _module(module: TokenMaps) -> dict[str, Any]:
    return {
        "title": module.title,
        "grid": module.maps.shape[1:],
        "even": round(module.even, 3),
        "entropy": {
            name: [round(float(value), 3) for value in entropy(maps)]
            for name, maps in (("maps", module.maps), ("interaction", module.interaction))
            if maps is not None
        },
        "maps": _packed(module.maps),
        "interaction": None if module.interaction is None else _packed(module.interaction),
    }


def _packed(maps: Floats) -> dict[str, Any]:
    """Packs maps (L, H, W) in 65,535 steps of the highest value."""
    most = float(maps.max()) or 1.0
    return {"most": most, "values": as_text((maps / most * 65535).round().astype(np.dtype("<u2")))}
