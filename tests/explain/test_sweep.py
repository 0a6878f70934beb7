"""A picture looked at with rising values of a control, and its animation."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageSequence

from sparsevision.errors import ConfigError
from sparsevision.explain import Sweep, save_sweep_animation, sweep_values
from sparsevision.explain.animation import HOLD_MS
from sparsevision.types import Control

CONTROL = Control("keep_ratio", 0.3, 0.01, 1.0, "share of the tokens")


def test_values_rise_within_the_range_and_hold_the_models_own() -> None:
    assert sweep_values(CONTROL) == (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
    assert sweep_values(CONTROL, 0.37) == (0.05, 0.1, 0.2, 0.3, 0.37, 0.5, 1.0)
    assert sweep_values(Control("depth", 6, 2, 8, "layers")) == (2.4, 4, 6, 8)


def test_a_sweep_knows_its_values(make_sweep) -> None:
    assert make_sweep().values == (0.1, 0.2, 1.0)
    assert Sweep(make_sweep().looks[:1]).values == ()
    with pytest.raises(ConfigError, match="at least one look"):
        Sweep(())


def test_the_animation_has_a_frame_for_each_value_and_brightens(make_sweep, tmp_path) -> None:
    picture = Image.new("RGB", (360, 240), (200, 200, 200))
    frames = Image.open(save_sweep_animation(make_sweep(picture, labels=()), tmp_path / "deep" / "a.gif"))
    durations, bright = [], []
    for frame in ImageSequence.Iterator(frames):
        durations.append(frame.info["duration"])
        # Updated on one level of two: half way between dimmed (60) and as it is (200).
        bright.append((np.asarray(frame.convert("L"))[:240] > 100).mean())
    assert durations == [HOLD_MS, HOLD_MS, 2 * HOLD_MS]
    assert bright == pytest.approx([1 / 24, 4 / 24, 1], abs=0.02)
    assert frames.info["loop"] == 0


def test_without_values_there_is_nothing_to_animate(make_sweep, tmp_path) -> None:
    with pytest.raises(ConfigError, match="no control to run through"):
        save_sweep_animation(Sweep(make_sweep().looks[:1]), tmp_path / "a.gif")
