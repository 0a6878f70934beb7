"""The best classes with their scores."""

from __future__ import annotations

from typing import Any

from ..explanation import Explanation, scored
from ..kinds import PanelKind


def _content(explanation: Explanation) -> dict[str, Any]:
    labels, scores = scored(explanation.result)
    return {"classes": [[label, round(score, 4)] for label, score in zip(labels, scores, strict=True)]}


PANEL = PanelKind(name="scores", needs=frozenset({"scores"}), content=_content)
