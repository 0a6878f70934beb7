"""The stages as an animated GIF: every point glides from where one stage sampled to where the next one does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sparsevision.drawing.palette import token_colours

from .drawing import dimmed, shaded
from .look import Floats, Look, reduced

HOLD_MS = 900  # a stage stands still
STEP_MS = 50  # one step between stages
STEPS = 8
BAND = 26  # pixels below the picture for the caption
_OVERSAMPLING = 2  # dots are drawn larger and reduced, which smooths their edges


def save_animation(look: Look, path: Path | str, *, longest: int = 320) -> Path:
    """Writes a GIF that runs through the stages and starts again, its longer side at most about `longest` pixels."""
    frames, durations = zip(*_frames(look, longest), strict=True)
    palette = _common_palette(frames, token_colours(look.num_tokens))
    return write_animation(frames, durations, palette, Path(path))


def write_animation(frames: Sequence[Image.Image], durations: Sequence[int], palette: Image.Image, path: Path) -> Path:
    """Writes frames that stand so many milliseconds each, in the colours of one palette, as a GIF that starts again."""
    indexed = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    path.parent.mkdir(parents=True, exist_ok=True)
    indexed[0].save(
        path, save_all=True, append_images=indexed[1:], duration=list(durations), loop=0, optimize=False, disposal=1
    )
    return path


def _frames(look: Look, longest: int) -> Iterator[tuple[Image.Image, int]]:
    """Yields each frame and for how many milliseconds it stands."""
    background = Image.fromarray(shaded(look, dimmed(reduced(look.picture, longest), saturation=0.0)))
    scale = np.divide(background.size, look.size)
    colours = (255 * token_colours(look.num_tokens)).round().astype(int)
    places = [stage.points * scale for stage in look.stages]
    caption = [stage.title for stage in look.stages]

    def frame(points: Floats, position: float) -> Image.Image:
        return _frame(background, points, colours, caption, position)

    for index, (here, there) in enumerate(pairwise(places)):
        yield frame(here, index), HOLD_MS
        for step in range(1, STEPS):
            share = _eased(step / STEPS)
            yield frame(here + share * (there - here), index + share), STEP_MS
    yield frame(places[-1], len(places) - 1), 2 * HOLD_MS


def _eased(share: float) -> float:
    """Speeds up and slows down: 0 to 1 with no jerk at either end."""
    return share * share * (3 - 2 * share)


def _frame(
    background: Image.Image, points: Floats, colours: NDArray[np.int64], caption: list[str], position: float
) -> Image.Image:
    width, height = background.size
    over = _OVERSAMPLING
    large = background.resize((width * over, height * over), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(large)
    radius = over * max(1.3, max(width, height) / 240)
    for token, colour in zip(points * over, colours, strict=True):
        fill = tuple(int(value) for value in colour)
        for x, y in token:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
    whole = Image.new("RGB", (width, height + BAND))
    whole.paste(large.reduce(over), (0, 0))
    draw_caption(whole, height, caption, position)
    return whole


def draw_caption(whole: Image.Image, top: int, caption: list[str], position: float) -> None:
    """Writes the stage's name and draws how far the run has come."""
    draw = ImageDraw.Draw(whole)
    font = ImageFont.load_default(size=13)
    middle = top + BAND // 2
    draw.text((8, middle), caption[round(position)], fill=(235, 235, 235), font=font, anchor="lm")
    widest = max(draw.textlength(name, font=font) for name in caption)
    left, right = 8 + widest + 14, whole.width - 12
    if right - left < 8 * len(caption):
        return  # a narrow picture has room for the name alone
    spacing = (right - left) / max(1, len(caption) - 1)
    draw.line((left, middle, right, middle), fill=(90, 90, 90), width=2)
    draw.line((left, middle, left + spacing * position, middle), fill=(235, 235, 235), width=2)
    for index in range(len(caption)):
        x, reached = left + spacing * index, index <= position
        draw.ellipse((x - 4, middle - 4, x + 4, middle + 4), fill=(235, 235, 235) if reached else (90, 90, 90))


def _common_palette(frames: tuple[Image.Image, ...], colours: Floats) -> Image.Image:
    """One palette for all frames, so that what stands still does not flicker: greys and the tokens' own colours."""
    tokens = (255 * colours[:160]).round().astype(np.uint8)
    greys = np.repeat(np.linspace(0, 120, 64).round().astype(np.uint8)[:, None], 3, 1)
    fixed = np.concatenate([greys, tokens, np.array([[235] * 3, [180] * 3], np.uint8)])
    # What is left of 256 goes to the dots' smoothed edges, taken from the frame where they lie widest.
    rest = 256 - len(fixed)
    edges = np.asarray(frames[0].quantize(rest, dither=Image.Dither.NONE).getpalette(), np.uint8).reshape(-1, 3)
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([fixed, edges[:rest]]).tobytes())
    return palette
