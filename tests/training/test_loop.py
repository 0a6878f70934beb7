"""What the loop promises: the same numbers after a resume and under accumulation; broken batches are named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from stand_ins import TinyLoaders, TinyNet, final_weights, parts, recipe

from sparsevision.errors import ConfigError, NonFiniteLossError, OutOfMemoryError
from sparsevision.training import Parts, Recipe, RunSummary, fit
from sparsevision.training import run as run_module
from sparsevision.training.run import score_weights
from sparsevision.training.run_folder import read_metrics
from sparsevision.training.session import Session
from sparsevision.types import Batch, Skipped

UNREPEATABLE = ("seconds", "images_per_second")


class Interrupted(TinyLoaders):
    """Breaks off before the given batch of the given epoch."""

    def __init__(self, epoch: int, batch: int) -> None:
        super().__init__()
        self.epoch, self.at = epoch, batch

    def train(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        for number, batch in enumerate(super().train(epoch, start_batch), start=start_batch):
            if (epoch, number) == (self.epoch, self.at):
                raise KeyboardInterrupt
            yield batch


def run(recipe: Recipe, out: Path, feed: TinyLoaders | None = None, **options: Any) -> RunSummary:
    teacher = recipe.distillation.teacher is not None
    return fit(recipe, lambda _: parts(recipe, feed, teacher=teacher), out=out, **options)


def interrupt_in_the_second_epoch(session: Session, loaders: TinyLoaders) -> None:
    if session.progress.epoch:
        raise KeyboardInterrupt
    score_weights(session, loaders)


def lines(out: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in UNREPEATABLE} for line in read_metrics(out)]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("epoch", "batch", "every"), [(1, 4, 4), (0, 5, 3), (1, 0, None), (0, 1, None)])
def test_a_resumed_run_equals_the_unbroken_one(epoch: int, batch: int, every: int | None, tmp_path: Path) -> None:
    settings = recipe(**{"run.checkpoint_every": every, "distillation.teacher": "tiny", "distillation.features": 1.0})
    run(settings, tmp_path / "unbroken")
    with pytest.raises(KeyboardInterrupt):
        run(settings, tmp_path / "broken", Interrupted(epoch, batch))
    torch.rand(7)
    run(settings, tmp_path / "broken", resume=True)
    assert lines(tmp_path / "broken") == lines(tmp_path / "unbroken")
    assert same(final_weights(tmp_path / "broken"), final_weights(tmp_path / "unbroken"))


@pytest.mark.parametrize("iterations", [4, 6, 8, 12])
def test_iterations_count_steps_and_cut_the_last_epoch_short(iterations: int, tmp_path: Path) -> None:
    settings = recipe(**{"schedule.iterations": iterations, "schedule.warmup_iterations": 2, "run.log_every": 1})
    summary = run(settings, tmp_path)
    assert (summary.finished, summary.steps) == (True, iterations)
    trained = [(line["step"], line["epoch"]) for line in lines(tmp_path) if line["kind"] == "train"]
    assert trained == [(step + 1, step // 6 + 1) for step in range(iterations)]
    scored = {(line["step"], line["epoch"]) for line in lines(tmp_path) if line["kind"] == "val"}
    assert scored == {(min(6 * epoch, iterations), epoch) for epoch in range(1, -(-iterations // 6) + 1)}
    assert run(settings, tmp_path, resume=True).steps == iterations


@pytest.mark.parametrize("accumulation", [1, 2])
def test_iterations_are_steps_of_the_optimiser_however_many_parts_they_have(accumulation: int, tmp_path: Path) -> None:
    settings = recipe(**{"schedule.iterations": 4, "schedule.warmup_epochs": 0, "run.accumulation": accumulation})
    assert run(settings, tmp_path).steps == 4


@pytest.mark.parametrize(("epoch", "batch", "every"), [(0, 5, 3), (1, 1, 4), (1, 1, None)])
def test_a_resumed_run_of_iterations_equals_the_unbroken_one(
    epoch: int, batch: int, every: int | None, tmp_path: Path
) -> None:
    counted = {"schedule.iterations": 8, "schedule.warmup_iterations": 3, "schedule.form": "polynomial"}
    settings = recipe(**{"run.checkpoint_every": every, **counted})
    run(settings, tmp_path / "unbroken")
    with pytest.raises(KeyboardInterrupt):
        run(settings, tmp_path / "broken", Interrupted(epoch, batch))
    assert run(settings, tmp_path / "broken", resume=True).steps == 8
    assert lines(tmp_path / "broken") == lines(tmp_path / "unbroken")
    assert same(final_weights(tmp_path / "broken"), final_weights(tmp_path / "unbroken"))


def test_a_run_that_stops_after_its_last_iteration_makes_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = recipe(**{"schedule.iterations": 8, "schedule.warmup_epochs": 0, "run.checkpoint_every": 4})
    run(settings, tmp_path / "unbroken")
    monkeypatch.setattr(run_module, "score_weights", interrupt_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        run(settings, tmp_path / "broken")
    monkeypatch.undo()
    assert run(settings, tmp_path / "broken", resume=True).steps == 8
    assert lines(tmp_path / "broken") == lines(tmp_path / "unbroken")
    assert same(final_weights(tmp_path / "broken"), final_weights(tmp_path / "unbroken"))


def test_accumulation_changes_nothing_but_memory(tmp_path: Path) -> None:
    class Halved(TinyLoaders):
        batches = 12

        def train(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
            for number in range(6):
                batch = self.batch(1000 * epoch + number, 4)
                # Unequal parts: what is averaged over must be the step's images, not the parts' means.
                for rows in (slice(0, 1), slice(1, 4)):
                    yield Batch(batch.images[rows], batch.targets[rows], batch.names[rows], batch.indices[rows])

    def made(settings: Recipe, feed: TinyLoaders) -> Parts:
        built = parts(settings, feed)
        built.model.norm, built.model.drop = torch.nn.Identity(), torch.nn.Identity()
        return built

    weights = []
    for accumulation, feed in ((1, TinyLoaders()), (2, Halved())):
        # Plain descent: Adam would hide a gradient of the wrong length.
        plain = {"name": "sgd", "betas": None, "eps": None, "momentum": 0.9, "clip": None, "lr": 0.1}
        settings = recipe(optimiser=plain, **{"run.accumulation": accumulation, "schedule.epochs": 1})
        out = tmp_path / str(accumulation)
        summary = fit(settings, lambda _, settings=settings, feed=feed: made(settings, feed), out=out)
        assert summary.steps == 6
        weights.append(final_weights(out)["learner.model.stem.weight"])
    assert torch.allclose(*weights, atol=1e-6)


def test_a_loss_that_is_nan_names_the_images_and_leaves_the_last_state(tmp_path: Path) -> None:
    feed = TinyLoaders()
    feed.poison = 1003
    with pytest.raises(NonFiniteLossError, match="'image-1003-0'"):
        run(recipe(), tmp_path, feed)
    assert all(torch.isfinite(value.double()).all() for value in final_weights(tmp_path).values())
    assert lines(tmp_path)[-1]["step"] < 10


def test_unreadable_images_are_named_once_and_an_empty_batch_is_passed_over(tmp_path: Path, capsys) -> None:
    class Empty(TinyLoaders):
        def batch(self, seed: int, size: int) -> Batch:
            whole = super().batch(seed, size)
            if seed != 2:
                return whole
            nothing = torch.empty(0, dtype=torch.int64)
            return Batch(torch.empty(0, 3, 1, 1), nothing, [], [], skipped=[Skipped("all.jpg", "truncated")])

    skipped = {0: [Skipped("bad.jpg", "empty")], 1000: [Skipped("bad.jpg", "empty")]}
    summary = run(recipe(), tmp_path, Empty(skipped=skipped))
    assert summary.skipped == {"all.jpg": "truncated", "bad.jpg": "empty"}
    assert capsys.readouterr().err.count("skipped bad.jpg: empty\n") == 1
    written = [json.loads(line) for line in (tmp_path / "skipped.jsonl").read_text().splitlines()]
    assert [line["name"] for line in written] == ["all.jpg", "bad.jpg"]
    assert summary.finished


def test_of_equal_scores_the_lower_loss_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter((0.7, 0.5, 0.6))
    scored = run_module.evaluate_batches

    def tied(*given: Any) -> Any:
        return replace(scored(*given), top1=0.5, loss=next(losses))

    monkeypatch.setattr(run_module, "evaluate_batches", tied)
    summary = run(recipe(**{"schedule.epochs": 3, "ema.decay": 0}), tmp_path)
    assert (summary.best_score, summary.best_epoch) == (0.5, 2)
    assert json.loads((tmp_path / "best" / "report.json").read_text())["loss"] == 0.5


def test_a_run_of_which_the_first_epoch_was_the_best_says_so(tmp_path: Path) -> None:
    summary = replace(run(recipe(), tmp_path), best_epoch=1)
    assert "no later epoch was better" in str(replace(summary, epochs=3))
    for other in ({"best_epoch": 2}, {"finished": False}, {"best_score": 1.0}, {"epochs": 2}):
        assert "no later" not in str(replace(summary, **{"epochs": 3, **other}))
    assert summary.epochs == 2


def test_memory_that_runs_out_is_one_sentence(tmp_path: Path) -> None:
    class Greedy(TinyLoaders):
        def train(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(OutOfMemoryError, match=r"data\.batch=4"):
        run(recipe(), tmp_path, Greedy())


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without a GPU cannot do")
def test_fp16_needs_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fp16"):
        run(recipe(**{"run.precision": "fp16"}), tmp_path)


def test_the_time_budget_stops_a_run_that_can_go_on(tmp_path: Path) -> None:
    assert not run(recipe(**{"run.time_budget_minutes": 1e-9}), tmp_path / "short").finished
    assert run(recipe(), tmp_path / "short", resume=True).finished
    run(recipe(), tmp_path / "whole")
    assert same(final_weights(tmp_path / "short"), final_weights(tmp_path / "whole"))


def test_a_model_that_cannot_recompute_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gradient_checkpointing=false"):
        run(recipe(**{"run.gradient_checkpointing": True}), tmp_path)


def test_frozen_batch_norm_keeps_its_statistics(tmp_path: Path) -> None:
    run(recipe(**{"model.freeze_batch_norm": True}), tmp_path / "frozen")
    run(recipe(), tmp_path / "free")
    fresh = TinyNet().norm.running_mean
    assert torch.equal(final_weights(tmp_path / "frozen")["learner.model.norm.running_mean"], fresh)
    assert not torch.equal(final_weights(tmp_path / "free")["learner.model.norm.running_mean"], fresh)


def test_bf16_and_both_memory_formats_train(tmp_path: Path) -> None:
    settings = recipe(**{"run.precision": "bf16", "run.channels_last": True, "schedule.epochs": 1})
    assert run(settings, tmp_path).finished


@pytest.mark.parametrize(("meant_for", "factor"), [(None, 1.0), (32, 8.0)])
def test_a_small_batch_may_widen_the_clamp_of_point_gradients(
    meant_for: int | None, factor: float, tmp_path: Path
) -> None:
    told: list[float] = []

    def made(settings: Recipe) -> Parts:
        built = parts(settings)
        built.model.set_gradient_scale = told.append
        return built

    settings = recipe(**{"optimiser.clamp_for_batch": meant_for, "schedule.epochs": 1})
    fit(settings, lambda _: made(settings), out=tmp_path)
    assert set(told) == {factor}


def test_a_tracker_gets_the_recipe_and_every_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from accelerate import tracking
    from accelerate.utils import LoggerType

    class Kept(tracking.GeneralTracker):
        name, requires_logging_directory = "trackio", False
        runs: ClassVar[list[Kept]] = []
        refuses, ended = False, False

        def __init__(self, run_name: str, **options: Any) -> None:
            super().__init__()
            self.options, self.logged = (run_name, options), []
            self.runs.append(self)

        @property
        def tracker(self) -> Kept:
            return self

        def store_init_configuration(self, values: dict[str, Any]) -> None:
            self.settings = values

        def log(self, values: dict[str, float], step: int | None = None, **_: Any) -> None:
            if self.refuses:
                raise OSError("no route")
            self.logged.append((step, values))

        def finish(self) -> None:
            self.ended = True

    monkeypatch.setattr(tracking, "get_available_trackers", lambda: [LoggerType.TRACKIO])
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "trackio", Kept)
    run(recipe(**{"run.trackers": ["trackio"]}), tmp_path / "mine")
    [kept] = Kept.runs
    assert kept.options == ("sparsevision", {"name": "mine"})
    assert kept.settings["schedule.epochs"] == 2
    written = read_metrics(tmp_path / "mine")
    assert [step for step, _ in kept.logged] == [line["step"] for line in written]
    assert kept.logged[0][1]["train/loss"] == written[0]["loss"]
    assert "val/ema/top1" in kept.logged[-1][1] | kept.logged[-2][1]
    assert kept.ended
    # One that fails is told once, and one that does not start is a sentence.
    monkeypatch.setattr(Kept, "refuses", True)
    assert run(recipe(**{"run.trackers": ["trackio"]}), tmp_path / "failing").finished
    assert capsys.readouterr().err.count("A tracker failed (OSError: no route): the run goes on without") == 1
    monkeypatch.setattr(Kept, "store_init_configuration", lambda *_: 1 / 0)
    with pytest.raises(ConfigError, match=r"does not start \(ZeroDivisionError: division by zero\): log in"):
        run(recipe(**{"run.trackers": ["trackio"]}), tmp_path / "locked")
    with pytest.raises(ConfigError, match="names 'wandb', which cannot be used here"):
        run(recipe(**{"run.trackers": ["trackio", "wandb"]}), tmp_path / "other")
