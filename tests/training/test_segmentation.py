"""A segmenter goes through the same loop: it learns, is scored, resumes, and two processes are as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from stand_ins import assert_same_weights, broken_off_and_resumed, final_weights
from whole_process import run_process

from mask_folder import draw_mask_folder
from sparsevision.errors import ConfigError
from sparsevision.training import read_recipe, train
from sparsevision.training.recipe import Recipe

SMALL = [
    "model.name=fpn_nano", "model.backbone=none", "model.config.backbone=test_efficientnet",
    "model.config.backbone_options=[]", "model.config.width=16", "model.config.head_width=16",
    "model.config.head_groups=4", "data.batch=4", "data.cache_mebibytes=1", "transforms.size=64",
    "transforms.crop=[48, 48]", "transforms.evaluation.size=64", "schedule.epochs=2", "schedule.warmup_epochs=0",
    "run.workers=0", "run.precision=fp32", "run.evaluate_every=1", "run.log_every=1",
]  # fmt: skip
STILL = ("transforms.flip=0", "transforms.scale=[1.0, 1.0]", "transforms.crop=[64, 86]", "transforms.color_jitter=0")


def recipe(*more: str) -> Recipe:
    return read_recipe("masks_nano", [*SMALL, *more])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_mask_folder(tmp_path_factory.mktemp("shapes") / "data", train=8, val=4)


def lines_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_it_learns_shapes(folder: Path, tmp_path: Path) -> None:
    more = ("schedule.epochs=60", "run.evaluate_every=20", "optimiser.lr=3e-3", "run.log_every=20")
    summary = train(recipe(*more), data=str(folder), out=tmp_path)
    assert summary.best_score > 0.6
    scored = [line for line in lines_of(tmp_path) if line["kind"] == "val"]
    assert {"miou", "mean_class", "pixels", "boundary"} <= set(scored[-1])


def test_losses_by_kind_are_written(folder: Path, tmp_path: Path) -> None:
    train(recipe("loss.dice=0.5", "loss.hardest=0.5", "schedule.epochs=1"), data=str(folder), out=tmp_path)
    first = next(line for line in lines_of(tmp_path) if line["kind"] == "train")
    assert {"cross_entropy", "dice"} <= set(first)


def test_a_broken_mask_is_left_out_and_named(tmp_path: Path) -> None:
    data = draw_mask_folder(tmp_path / "data")
    (data / "train" / "labels" / "train002.png").write_bytes(b"no image")
    summary = train(recipe("schedule.epochs=1"), data=str(data), out=tmp_path / "run")
    assert [Path(name).name for name in summary.skipped] == ["train002.png"]


def test_a_crop_that_would_cut_pixels_off_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"transforms\.evaluation\.fit .* \(given: 'crop'\)"):
        recipe("transforms.evaluation.fit=crop")


def test_broken_off_it_resumes_to_the_bit(folder: Path, tmp_path: Path) -> None:
    train(recipe(), data=str(folder), out=tmp_path / "whole")
    broken_off_and_resumed(recipe(), folder, tmp_path / "broken")
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.slow
def test_two_processes_learn_and_score_what_one_does(folder: Path, tmp_path: Path) -> None:
    for processes in (1, 2):
        run_process(Path(__file__).stem, folder, tmp_path / str(processes), processes)
    one, two = (final_weights(tmp_path / str(processes)) for processes in (1, 2))
    for name in (name for name in one if name.startswith("ema.")):
        torch.testing.assert_close(one[name], two[name], atol=2e-4, rtol=1e-3)
    scored = [[line for line in lines_of(tmp_path / str(number)) if line["kind"] == "val"] for number in (1, 2)]
    for alone, joint in zip(*scored, strict=True):
        assert alone["images"] == joint["images"] == 4
        assert alone["miou"] == pytest.approx(joint["miou"], abs=2e-3)
