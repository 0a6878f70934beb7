"""An image explained with rising values of a control, and its animation."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageSequence

from sparsevision.errors import ConfigError
from sparsevision.explain import ControlSweep, animations_for, save_animation, sweep_values
from sparsevision.explain.animations.control_values import sweep_animation
from sparsevision.explain.gif import HOLD_MS
from sparsevision.types import Control

CONTROL = Control("keep_ratio", 0.3, 0.01, 1.0, "share of the tokens")


def test_values_rise_within_the_range_and_hold_the_models_own() -> None:
    assert sweep_values(CONTROL) == (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
    assert sweep_values(CONTROL, 0.37) == (0.05, 0.1, 0.2, 0.3, 0.37, 0.5, 1.0)
    assert sweep_values(Control("depth", 6, 2, 8, "layers")) == (2.4, 4, 6, 8)


def test_a_sweep_knows_its_values(make_sweep) -> None:
    assert make_sweep().values == (0.1, 0.2, 1.0)
    assert ControlSweep(explanations=make_sweep().explanations[:1]).values == ()
    with pytest.raises(ConfigError, match="at least one explanation"):
        ControlSweep(explanations=())


def test_the_animation_has_a_frame_for_each_value_and_brightens(make_sweep, tmp_path) -> None:
    image = Image.new("RGB", (360, 240), (200, 200, 200))
    frames = Image.open(save_animation(sweep_animation(make_sweep(image, labels=())), tmp_path / "deep" / "a.gif"))
    durations, bright = [], []
    for frame in ImageSequence.Iterator(frames):
        durations.append(frame.info["duration"])
        # Updated on one level of two: half way between dimmed (60) and as it is (200).
        bright.append((np.asarray(frame.convert("L"))[:240] > 100).mean())
    assert durations == [HOLD_MS, HOLD_MS, 2 * HOLD_MS]
    assert bright == pytest.approx([1 / 24, 4 / 24, 1], abs=0.02)
    assert frames.info["loop"] == 0


def test_values_are_animated_where_there_are_several(make_sweep) -> None:
    assert [kind.name for kind in animations_for(make_sweep().has)] == ["control_values", "stages"]
    alone = ControlSweep(explanations=make_sweep().explanations[:1])
    assert [kind.name for kind in animations_for(alone.has)] == ["stages"]
