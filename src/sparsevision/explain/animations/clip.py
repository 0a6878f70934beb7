"""A clip with what the last stage reads of each frame, as an animation and as a video."""

from __future__ import annotations

from PIL import Image

from ..clip import drawn_frame
from ..control_sweep import ControlSweep
from ..explanation import reduced
from ..gif import COLOURS, captioned
from ..kinds import Animation, AnimationKind
from ..overlays import dimmed


def clip_animation(sweep: ControlSweep, *, longest: int = 320) -> Animation:
    """Draws the frames in turn, the longer side at most about `longest` pixels."""
    explanation = sweep.own
    clip, stage = explanation.clip, explanation.timed_stages[-1]
    assert clip is not None
    frames, caption = [], [f"{each:.2f} s" for each in clip.times]
    for number, (image, time) in enumerate(zip(clip.images, clip.times, strict=True)):
        dark = Image.fromarray(dimmed(_fitted(image, longest), 1.3, saturation=0.2))
        drawn = drawn_frame(dark, explanation.size, stage, time, clip.step)
        frames.append(captioned(drawn, caption, number))
    several = Image.new("RGB", (frames[0].width, frames[0].height * min(len(frames), 4)))
    for place, number in enumerate(clip.picked(4)):
        several.paste(frames[number], (0, place * frames[0].height))
    palette = several.quantize(COLOURS, dither=Image.Dither.NONE)
    return Animation(frames=frames, durations=[clip.milliseconds] * len(frames), palette=palette)


def _fitted(image: Image.Image, longest: int) -> Image.Image:
    """Reduces or enlarges an image to a longer side: dots on a small one would be as large as what they lie on."""
    scale = longest / max(image.size)
    if scale <= 1:
        return reduced(image, longest)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


ANIMATION = AnimationKind(
    name="clip", description="the frames with what the last stage reads of them",
    needs=frozenset({"timed_points", "timed_regions", "clip"}), draw=clip_animation, video=True,
)  # fmt: skip
