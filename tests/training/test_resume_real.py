"""Resuming with the real model, loader and mixing: in the middle of an epoch, with other workers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from stand_ins import final_weights

from sparsevision.training import read_recipe, train


@pytest.mark.slow
def test_sparseformer_resumes_to_the_bit_with_other_workers(photographs: Path, tmp_path: Path) -> None:
    recipe = read_recipe("caltech101_nano").with_values(
        {
            "transforms.size": 32, "data.batch": 4, "schedule.epochs": 2, "schedule.warmup_epochs": 0.5,
            "run.workers": 0, "model.config.cortex_depth": 1, "model.config.drop_path_rate": 0.5,
            "transforms.mix_probability": 1.0, "transforms.evaluation.fit": "whole",
        }
    )  # fmt: skip
    data, out = str(photographs / "my_images"), tmp_path / "broken"
    train(recipe, data=data, out=tmp_path / "unbroken")
    stopped = train(recipe.with_values({"run.time_budget_minutes": 1e-9}), data=data, out=out)
    assert (stopped.finished, stopped.steps) == (False, 1)
    assert train(recipe.with_values({"run.workers": 2}), data=data, out=out, resume=True).steps == 6
    whole, ours = final_weights(tmp_path / "unbroken"), final_weights(out)
    assert whole.keys() == ours.keys()
    assert all(torch.equal(whole[name], ours[name]) for name in whole)
