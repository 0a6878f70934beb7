"""What a run leaves behind, and what it says when the place or the state is bad."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from stand_ins import CLASSES, TinyLoaders, final_weights, parts, recipe

from sparsevision.errors import CheckpointError, ConfigError, DataError, SparseVisionError
from sparsevision.training import Recipe, RunSummary, fit, read_recipe
from sparsevision.training import state as state_module
from sparsevision.training.run_folder import RunFolder, read_metrics


def run(recipe: Recipe, out: Path, feed: TinyLoaders | None = None, **options: Any) -> RunSummary:
    return fit(recipe, lambda _: parts(recipe, feed), out=out, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "finished"
    run(recipe(), out)
    return out


def test_everything_is_there(finished: Path) -> None:
    assert read_recipe(finished / "recipe.toml") == recipe()
    assert json.loads((finished / "environment.json").read_text())["starts"][0]["packages"]["torch"]
    assert json.loads((finished / "data.json").read_text())["classes"] == 3
    assert (finished / "scored.txt").read_text() == '"drawn"\n'
    assert (finished / "curves.png").stat().st_size > 10_000
    assert list((finished / "tensorboard").iterdir())
    config = json.loads((finished / "best" / "config.json").read_text())
    assert (config["model"], tuple(config["labels"])) == ("tiny_net", CLASSES)
    weights = load_file(finished / "best" / "model.safetensors")
    summary = json.loads((finished / "best" / "report.json").read_text())
    assert summary["images"] == 21
    last = final_weights(finished)
    prefixes = {name.rsplit(f".{key}", 1)[0] for key in weights for name in last if name.endswith(f".{key}")}
    assert {"learner.model", "ema"} <= prefixes
    assert not [path for path in finished.rglob("*") if ".new" in path.name or ".old" in path.name]


def test_without_tensorboard_the_numbers_are_written_all_the_same(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    run(recipe(), tmp_path / "run")
    assert not (tmp_path / "run" / "tensorboard").exists()
    kinds = [[line["kind"] for line in read_metrics(folder)] for folder in (finished, tmp_path / "run")]
    assert kinds[0] == kinds[1] != []


def test_a_run_is_not_overwritten(finished: Path) -> None:
    with pytest.raises(ConfigError, match="--resume"):
        run(recipe(), finished)


def test_a_resumed_run_keeps_its_recipe_and_its_data(finished: Path) -> None:
    with pytest.raises(ConfigError, match=r"optimiser\.lr = 0\.001, now it is 0\.5"):
        run(recipe(**{"optimiser.lr": 0.5}), finished, resume=True)
    changed = TinyLoaders()
    changed.fingerprint = "other"
    with pytest.raises(ConfigError, match="data set is not the one"):
        run(recipe(), finished, changed, resume=True)
    assert run(recipe(**{"run.workers": 3}), finished, resume=True).finished


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "run", Path("/proc/run")):
        with pytest.raises(DataError, match="cannot be written"):
            run(recipe(), place)
    with pytest.raises(ConfigError, match="is a file: give --out a folder"):
        run(recipe(), tmp_path / "file")


def test_a_full_disk_leaves_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0

    def full(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        nonlocal written
        written += 1
        save_file(tensors, path, metadata)
        if written == 2:
            path.write_bytes(path.read_bytes()[:100])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state_module, "save_file", full)
    with pytest.raises(DataError, match="No space left on device"):
        run(recipe(), tmp_path / "full")
    monkeypatch.undo()
    assert not list((tmp_path / "full" / "last").glob("*.new"))
    run(recipe(), tmp_path / "full", resume=True)
    run(recipe(), tmp_path / "whole")
    ours, whole = final_weights(tmp_path / "full"), final_weights(tmp_path / "whole")
    assert all(torch.equal(ours[name], whole[name]) for name in whole)


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "other model", "no facts", "pickle"])
def test_a_damaged_state_is_one_sentence(damage: str, finished: Path, tmp_path: Path) -> None:
    import shutil

    out = tmp_path / "run"
    shutil.copytree(finished, out)
    path = out / "last" / "state.safetensors"
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "noise":
        path.write_bytes(b"\xff" * 400)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "pickle":
        torch.save({"a": torch.zeros(2)}, path)
    else:
        tensors, facts = load_file(path), dict(state_module.read_state(out / "last")[1])
        if damage == "no facts":
            facts = {"format": 1, "random": [{}]}
        else:
            tensors["learner.model.stem.weight"] = torch.zeros(1, 3, 3, 3)
        save_file(tensors, path, metadata={"state": json.dumps(facts)})
    with pytest.raises(SparseVisionError) as caught:
        run(recipe(), out, resume=True)
    assert isinstance(caught.value, CheckpointError)
    assert "\n" not in str(caught.value)


def test_the_best_weights_survive_a_kill_between_two_renames(finished: Path, tmp_path: Path) -> None:
    import shutil

    out = tmp_path / "run"
    shutil.copytree(finished, out)
    (out / "best").rename(out / "best.old")
    (out / "best.new").mkdir()
    RunFolder(out).open(recipe(), resume=True)
    assert (out / "best" / "model.safetensors").exists()
    assert not (out / "best.old").exists()
    assert not (out / "best.new").exists()
