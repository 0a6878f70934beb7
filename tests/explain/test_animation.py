from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from sparsevision.explain import ControlSweep, Explanation, save_animation
from sparsevision.explain.animations.stages import STEP_MS, STEPS, stages_animation
from sparsevision.explain.gif import HOLD_MS
from sparsevision.types import Geometry


def saved(explanation: Explanation, path: Path) -> Path:
    return save_animation(stages_animation(ControlSweep(explanations=(explanation,))), path)


def test_it_holds_each_stage_and_glides_between_them(make_explanation, tmp_path):
    image = Image.open(saved(make_explanation(), tmp_path / "deep" / "a.gif"))
    durations = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
    assert durations == [HOLD_MS, *[STEP_MS] * (STEPS - 1)] * 4 + [2 * HOLD_MS]
    assert image.info["loop"] == 0


def test_points_move_and_what_stands_still_does_not_flicker(make_explanation, tmp_path):
    right_half = Geometry((200, 300), (200.0, 50.0, 300.0, 150.0))
    explanation = make_explanation(Image.effect_noise((300, 200), 90).convert("RGB"), geometry=right_half)
    frames = Image.open(saved(explanation, tmp_path / "a.gif"))
    pixels = np.stack([np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(frames)])
    changes = (pixels != pixels[0]).any(-1).any(0)
    assert changes[:200].any()
    assert not changes[:200, :100].any()


def test_large_images_give_small_files(make_explanation, tmp_path):
    explanation = make_explanation(Image.effect_noise((1600, 1200), 80).convert("RGB"), tokens=49)
    path = saved(explanation, tmp_path / "a.gif")
    assert max(Image.open(path).size) <= 320
    assert path.stat().st_size < 1_000_000
