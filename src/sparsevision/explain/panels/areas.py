"""The classes of an image's pixels: drawn small over the image, with the share of each and the number of its areas."""

from __future__ import annotations

from typing import Any

from ..explanation import Explanation
from ..kinds import PanelKind
from ..page import data_uri

_LONGEST = 420
_QUALITY = 85


def _content(explanation: Explanation) -> dict[str, Any]:
    result = explanation.result.to_dict()
    drawn = explanation.result.annotate(explanation.preview, least_side=0)
    drawn.thumbnail((_LONGEST, _LONGEST))
    return {
        "classes": [[one["label"], one["share"], one["areas"]] for one in result["classes"]],
        "drawn": data_uri(drawn, _QUALITY),
    }


PANEL = PanelKind(name="areas", needs=frozenset({"labels"}), content=_content)
