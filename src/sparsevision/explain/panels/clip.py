"""A clip's frames to go through, with the points that a stage reads of each and the tubes that hold its time."""

from __future__ import annotations

from typing import Any

from sparsevision.drawing.palette import hexadecimal, token_colours

from ..explanation import Explanation, reduced
from ..kinds import PanelKind
from ..page import as_text, data_uri, packed

_PIXELS = 480


def _content(explanation: Explanation) -> dict[str, Any]:
    clip, stages = explanation.clip, explanation.timed_stages
    assert clip is not None
    (width, height), length = explanation.size, clip.end - clip.begin
    images = [data_uri(reduced(image, _PIXELS), 80) for image in clip.images]
    return {
        "frames": [
            {"title": f"{time:.2f} s", "image": image, "time": (time - clip.begin) / length}
            for image, time in zip(images, clip.times, strict=True)
        ],
        "milliseconds": clip.milliseconds,
        "step": clip.step / length,
        "tokens": len(stages[0].points),
        "per_token": stages[0].points.shape[1],
        "colours": hexadecimal(token_colours(len(stages[0].points))),
        "stages": [
            {
                "title": stage.title,
                "points": packed(stage.points.reshape(-1, 2), width, height),
                "times": as_text(((stage.times - clip.begin) / length).astype("<f4")),
                "regions": packed(stage.regions.reshape(-1, 2), width, height),
                "spans": as_text(((stage.spans - clip.begin) / length).astype("<f4")),
            }
            for stage in stages
        ],
    }


PANEL = PanelKind(name="clip", needs=frozenset({"timed_points", "timed_regions", "clip"}), content=_content, view=True)
