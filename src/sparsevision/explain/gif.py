"""Animated GIFs and videos: frames with a caption and a bar of progress, in one palette."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from sparsevision.drawing.videos import writing_video
from sparsevision.files import replacing

from .kinds import Animation

COLOURS = 255  # of a palette: the last of a GIF's 256 marks the pixels that stay as they are, most of them
HOLD_MS = 900  # of a frame that stands still
BAND = 26  # pixels below the image for the caption
_LIT, _UNLIT = (235, 235, 235), (90, 90, 90)


def save_animation(animation: Animation, path: Path | str) -> Path:
    """Writes a GIF that repeats."""
    none = Image.Dither.NONE
    first, *others = [frame.quantize(palette=animation.palette, dither=none) for frame in animation.frames]
    with replacing(Path(path)) as part:
        first.save(
            part, save_all=True, append_images=others, duration=list(animation.durations), loop=0, optimize=True,
            disposal=1,
        )  # fmt: skip
    return Path(path)


def save_video(animation: Animation, path: Path | str) -> Path:
    """Writes an MP4."""
    rate = 1000 * len(animation.frames) / sum(animation.durations)
    with replacing(Path(path)) as part, writing_video(part, rate) as video:
        time = 0.0
        for frame, duration in zip(animation.frames, animation.durations, strict=True):
            video.add(frame, time)
            time += duration / 1000
    return Path(path)


def captioned(image: Image.Image, caption: list[str], position: float) -> Image.Image:
    """Returns an image with a band below it: the nearest name of the caption, and the position among them."""
    whole = Image.new("RGB", (image.width, image.height + BAND))
    whole.paste(image, (0, 0))
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(size=13)
    middle = image.height + BAND // 2
    draw.text((8, middle), caption[round(position)], fill=_LIT, font=font, anchor="lm")
    widest = max(draw.textlength(name, font=font) for name in caption)
    left, right = 8 + widest + 14, whole.width - 12
    if right - left < 8 * len(caption):
        return whole  # a narrow image has room for the name alone
    spacing = (right - left) / max(1, len(caption) - 1)
    draw.line((left, middle, right, middle), fill=_UNLIT, width=2)
    draw.line((left, middle, left + spacing * position, middle), fill=_LIT, width=2)
    for index in range(len(caption)):
        x, reached = left + spacing * index, index <= position
        draw.ellipse((x - 4, middle - 4, x + 4, middle + 4), fill=_LIT if reached else _UNLIT)
    return whole
