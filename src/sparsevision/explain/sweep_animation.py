"""A sweep as an animated GIF: what is updated and what is found as a control's value rises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from sparsevision.errors import ConfigError

from .animation import BAND, HOLD_MS, draw_caption, write_animation
from .detection_drawing import kept_pixels
from .detection_look import DetectionLook
from .look import reduced
from .sweep import Sweep


def save_sweep_animation(sweep: Sweep, path: Path | str, *, longest: int = 480) -> Path:
    """Writes a GIF with one frame a value, its longer side at most about `longest` pixels.

    The picture is as bright as the share of levels at which a place's token is updated.

    Raises:
        ConfigError: the sweep has one look only, so that nothing would move.
    """
    if len(sweep.looks) < 2:
        name = sweep.looks[0].result.name
        raise ConfigError(f"The model that looked at {name!r} has no control to run through: leave out the animation.")
    captions = [look.setting for look in sweep.looks]
    frames = [_frame(look, longest, captions, index) for index, look in enumerate(sweep.looks)]
    # One palette for all frames, so that what stays the same does not flicker.
    together = Image.fromarray(np.concatenate([np.asarray(frame) for frame in frames]))
    palette = together.quantize(256, dither=Image.Dither.NONE)
    durations = [HOLD_MS] * (len(frames) - 1) + [2 * HOLD_MS]
    return write_animation(frames, durations, palette, Path(path))


def _frame(look: DetectionLook, longest: int, captions: list[str], index: int) -> Image.Image:
    shown = Image.fromarray(kept_pixels(look, [level.kept for level in look.levels], reduced(look.picture, longest)))
    drawn = look.result.annotate(shown, least_side=0, scores=False)
    whole = Image.new("RGB", (drawn.width, drawn.height + BAND))
    whole.paste(drawn, (0, 0))
    draw_caption(whole, drawn.height, captions, index)
    return whole
