"""Values of the model's controls and choices, with a slider over the runs of a sweep."""

from __future__ import annotations

from typing import Any

from ..explanation import Explanation, spoken, written
from ..kinds import PanelKind


def _content(explanation: Explanation) -> dict[str, Any]:
    return {
        "settings": [
            {
                "name": spoken(option.name).capitalize(),
                "value": written(explanation.settings[option.name]),
                "about": option.description,
            }
            for option in explanation.options
        ]
    }


PANEL = PanelKind(name="settings", needs=frozenset({"settings"}), content=_content, below=True)
