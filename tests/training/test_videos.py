"""A model of videos goes through the same loop: it learns, and goes on where it broke off."""

from __future__ import annotations

from pathlib import Path

import pytest
from stand_ins import assert_same_weights, broken_off_and_resumed

from sparsevision.training import read_recipe, train
from sparsevision.training.recipe import Recipe
from video_folder import draw_video_folder

pytest.importorskip("av")
SMALL = [
    "model.backbone=none", "model.config.num_tokens=9", "model.config.num_points=9", "model.config.inflation=2",
    "model.config.feature_channels=16", "model.config.focusing_width=64", "model.config.cortex_width=64",
    "model.config.cortex_depth=2", "data.batch=4", "transforms.size=32", "transforms.frames=6",
    "transforms.clip_seconds=none", "schedule.epochs=2", "schedule.warmup_epochs=0", "run.workers=0",
    "run.precision=fp32", "run.evaluate_every=1", "run.log_every=1",
]  # fmt: skip
STILL = (
    "transforms.flip=0", "transforms.crop_scale=[1.0, 1.0]", "transforms.crop_ratio=[1.0, 1.0]",
    "transforms.color_jitter=0",
)  # fmt: skip


def recipe(*more: str) -> Recipe:
    return read_recipe("videos_nano", [*SMALL, *more])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_video_folder(tmp_path_factory.mktemp("moves") / "data", train=16, val=2)


@pytest.mark.slow
def test_it_learns_where_a_square_goes_which_no_frame_tells(folder: Path, tmp_path: Path) -> None:
    more = ("schedule.epochs=12", "run.evaluate_every=4", "optimiser.lr=3e-3", "run.log_every=20", "ema.decay=0")
    summary = train(recipe(*more, *STILL), data=str(folder), out=tmp_path)
    assert summary.best_score == 1.0


@pytest.mark.slow
def test_broken_off_it_resumes_to_the_bit(folder: Path, tmp_path: Path) -> None:
    train(recipe(), data=str(folder), out=tmp_path / "whole")
    broken_off_and_resumed(recipe(), folder, tmp_path / "broken")
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")
