"""A sweep as an animation: updated tokens and objects as a control's value rises."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from ..control_sweep import ControlSweep
from ..explanation import Explanation, reduced
from ..gif import COLOURS, HOLD_MS, captioned
from ..kinds import Animation, AnimationKind
from ..level_overlays import kept_pixels


def sweep_animation(sweep: ControlSweep, *, longest: int = 480) -> Animation:
    """Draws a frame for each value, the longer side at most about `longest` pixels.

    The image is as bright as the share of levels on which a place's token is updated.
    """
    captions = [each.setting for each in sweep.explanations]
    frames = [captioned(_annotated(each, longest), captions, index) for index, each in enumerate(sweep.explanations)]
    # One palette for all frames, so that still parts do not flicker.
    together = Image.fromarray(np.concatenate([np.asarray(frame) for frame in frames]))
    palette = together.quantize(COLOURS, dither=Image.Dither.NONE)
    durations = [HOLD_MS] * (len(frames) - 1) + [2 * HOLD_MS]
    return Animation(frames=frames, durations=durations, palette=palette)


def _annotated(explanation: Explanation, longest: int) -> Image.Image:
    masks = [level.kept for level in explanation.levels.each]
    shown = Image.fromarray(kept_pixels(explanation, masks, reduced(explanation.image, longest)))
    options: dict[str, Any] = {"scores": False} if "objects" in explanation.has else {}
    return explanation.result.annotate(shown, least_side=0, **options)


ANIMATION = AnimationKind(
    name="control_values",
    description="updated tokens and objects at rising values of a control",
    needs=frozenset({"control_values", "kept", "level_maps.read"}),
    draw=sweep_animation,
)
