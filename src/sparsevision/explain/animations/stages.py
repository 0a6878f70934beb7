"""The sampling stages as an animation: points glide from where one stage sampled to where the next one does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sparsevision.drawing.palette import token_colours

from ..control_sweep import ControlSweep
from ..explanation import Explanation, Floats, reduced
from ..gif import COLOURS, HOLD_MS, captioned
from ..kinds import Animation, AnimationKind
from ..overlays import dimmed, shaded

STEP_MS = 50  # of one step between stages
STEPS = 8
_MOST_POINTS = 8000  # more would cover the image, and take minutes
_OVERSAMPLING = 2  # dots are drawn larger and reduced, which smooths their edges


def stages_animation(sweep: ControlSweep, *, longest: int = 320) -> Animation:
    """Draws the stages in turn, the longer side at most about `longest` pixels."""
    frames, durations = zip(*_frames(sweep.own, longest), strict=True)
    palette = _common_palette(frames, token_colours(sweep.own.num_tokens))
    return Animation(frames=frames, durations=durations, palette=palette)


def _frames(explanation: Explanation, longest: int) -> Iterator[tuple[Image.Image, int]]:
    """Yields each frame with its duration in milliseconds."""
    background = Image.fromarray(shaded(explanation, dimmed(reduced(explanation.image, longest), saturation=0.0)))
    scale = np.divide(background.size, explanation.size)
    colours = (255 * token_colours(explanation.num_tokens)).round().astype(int)
    every = -(-explanation.stages[0].points[..., 0].size // _MOST_POINTS)
    places = [stage.points[:, ::every] * scale for stage in explanation.stages]
    frame = partial(_frame, background, colours, [stage.title for stage in explanation.stages])
    for index, (here, there) in enumerate(pairwise(places)):
        yield frame(here, index), HOLD_MS
        for step in range(1, STEPS):
            share = step / STEPS
            share = share * share * (3 - 2 * share)  # eased in and out
            yield frame(here + share * (there - here), index + share), STEP_MS
    yield frame(places[-1], len(places) - 1), 2 * HOLD_MS


def _frame(
    background: Image.Image, colours: NDArray[np.int64], caption: list[str], points: Floats, position: float
) -> Image.Image:
    (width, height), over = background.size, _OVERSAMPLING
    large = background.resize((width * over, height * over), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(large)
    radius = over * max(1.3, max(width, height) / 240)
    for token, colour in zip(points * over, colours, strict=True):
        for x, y in token:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tuple(colour.tolist()))
    return captioned(large.reduce(over), caption, position)


def _common_palette(frames: Sequence[Image.Image], colours: Floats) -> Image.Image:
    """Returns one palette for all frames, so that still parts do not flicker: greys and the tokens' own colours."""
    tokens = (255 * colours[:160]).round().astype(np.uint8)
    greys = np.repeat(np.linspace(0, 120, 64).round().astype(np.uint8)[:, None], 3, 1)
    fixed = np.concatenate([greys, tokens, np.array([[235] * 3, [180] * 3], np.uint8)])
    # The rest goes to the dots' smoothed edges, taken from the frame where they lie widest.
    rest = COLOURS - len(fixed)
    edges = np.asarray(frames[0].quantize(rest, dither=Image.Dither.NONE).getpalette(), np.uint8).reshape(-1, 3)
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([fixed, edges[:rest]]).tobytes())
    return palette


ANIMATION = AnimationKind(
    name="stages", description="points gliding from stage to stage", needs=frozenset({"points"}), draw=stages_animation
)
