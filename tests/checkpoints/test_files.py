"""Files: our format there and back, and everything else that may lie under a checkpoint's name."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sparsevision.checkpoints import read_checkpoint, save_checkpoint
from sparsevision.errors import CheckpointError
from sparsevision.factory import create_model, load_model
from sparsevision.types import Preprocessing

Make = Callable[..., nn.Module]
PREPROCESSING = Preprocessing(size=(48, 64), fit="stretch", mean=(0.5, 0.5, 0.5))


def _save(target: Path, model: nn.Module, **options: Any) -> Path:
    given = {"name": "sparseformer_nano", "preprocessing": PREPROCESSING, "labels": ("ant", "bee", "cat")}
    return save_checkpoint(target, model, **{**given, **options})


@pytest.mark.skipif(os.name != "posix", reason="permissions are others here")
def test_weights_may_be_read_by_whom_other_files_may(small: Make, tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    folder = _save(tmp_path / "folder", small())
    assert {path.stat().st_mode for path in folder.iterdir()} == {(tmp_path / "usual").stat().st_mode}


@pytest.mark.parametrize("target", ["folder", "one.safetensors"])
def test_a_saved_model_comes_back_whole(target: str, small: Make, tmp_path: Path) -> None:
    model = small(decoding="static", focusing_repeats=2)
    again = load_model(_save(tmp_path / target, model)).eval()
    images = torch.rand(2, 3, 40, 56)
    assert torch.equal(model(images), again(images))
    assert again.config == model.config
    assert again.identity.preprocessing == PREPROCESSING
    assert again.identity.labels == ("ant", "bee", "cat")
    assert [path.name for path in tmp_path.rglob("*") if ".part" in path.name] == []


def test_a_run_folder_means_its_best_weights(small: Make, tmp_path: Path) -> None:
    best = _save(tmp_path / "run" / "best", small())
    run, same = load_model(best.parent), load_model(best)
    assert all(torch.equal(weight, same.state_dict()[name]) for name, weight in run.state_dict().items())


def test_half_precision_files_load_into_single_precision(small: Make, tmp_path: Path) -> None:
    model = small()
    whole, half = _save(tmp_path / "whole", model), _save(tmp_path / "half", model, dtype=torch.float16)
    assert load_file(half / "model.safetensors")["head.fc.weight"].dtype == torch.float16
    assert (half / "model.safetensors").stat().st_size < 0.6 * (whole / "model.safetensors").stat().st_size
    weight = load_model(half).head.fc.weight
    assert weight.dtype == torch.float32
    assert torch.allclose(weight, model.head.fc.weight, atol=1e-3)


def test_weights_that_half_precision_cannot_hold_are_refused(small: Make, tmp_path: Path) -> None:
    model = small()
    with torch.no_grad():
        model.head.fc.weight[0, 0] = 1e6
    with pytest.raises(CheckpointError, match=r"'head\.fc\.weight' has values that torch\.float16 cannot hold"):
        _save(tmp_path / "half", model, dtype=torch.float16)


def test_labels_and_outputs_must_be_as_many(small: Make, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="3 outputs and was given 2 labels"):
        _save(tmp_path / "x", small(), labels=("ant", "bee"))


def test_saving_replaces_a_checkpoint_and_a_failure_leaves_the_old_one(
    small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small()
    folder = _save(tmp_path / "x", model)
    before = (folder / "model.safetensors").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with torch.no_grad():
        model.head.fc.bias += 1
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CheckpointError, match=r"could not be written: .*No space left"):
            _save(folder, model)
    assert (folder / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    _save(folder, model)
    assert torch.equal(load_model(folder).head.fc.bias, model.head.fc.bias)


def test_wrappers_leave_no_trace_in_the_names(small: Make, tmp_path: Path) -> None:
    wrapped = nn.Module()
    wrapped.module = small()
    assert "head.fc.bias" in load_file(_save(tmp_path / "x", wrapped) / "model.safetensors")


def test_an_override_wins_over_the_file_and_another_name_is_refused(small: Make, tmp_path: Path) -> None:
    folder = _save(tmp_path / "x", small())
    assert create_model("sparseformer_nano", checkpoint=folder, drop_path_rate=0.3).config.drop_path_rate == 0.3
    assert create_model("sparseformer_nano", checkpoint=folder, num_classes=5).identity.labels is None
    with pytest.raises(CheckpointError, match="weights of 'sparseformer_nano', and 'sparseformer_tiny' was asked for"):
        create_model("sparseformer_tiny", checkpoint=folder)


class _Runs:
    """Pickled, an order to make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("form", ["torch", "plain", "inside a training file"])
def test_a_pickle_that_would_execute_code_does_not(form: str, small: Make, tmp_path: Path) -> None:
    trap, path = tmp_path / "sprung", tmp_path / "weights.pth"
    if form == "torch":
        torch.save({"model": _Runs(trap)}, path)
    elif form == "plain":
        path.write_bytes(pickle.dumps(_Runs(trap), protocol=2))
    else:
        torch.save({"model": small().state_dict(), "config": _Runs(trap)}, path)
    with pytest.raises(CheckpointError, match=r"could execute code|not an intact file"):
        read_checkpoint(path)
    assert not trap.exists()


def test_a_pickled_configuration_says_what_to_do(small: Make, tmp_path: Path) -> None:
    import argparse

    torch.save({"model": small().state_dict(), "config": argparse.Namespace(lr=1)}, tmp_path / "last.pth")
    with pytest.raises(CheckpointError, match=r"\(argparse\.Namespace\).*save its weights alone"):
        read_checkpoint(tmp_path / "last.pth")


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _edited(folder: Path, **changes: Any) -> Path:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **changes}))
    return folder


def _config(folder: Path, **changes: Any) -> Path:
    return _edited(folder, config={**json.loads((folder / "config.json").read_text())["config"], **changes})


def _poisoned(folder: Path, value: float) -> Path:
    state = load_file(folder / "model.safetensors")
    state["head.fc.bias"][0] = value
    save_file(state, folder / "model.safetensors")
    return folder


def _cut(folder: Path) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    return folder


def _twice(path: Path) -> Path:
    entry = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}'
    header = b"{" + entry % (0, 4) + b"," + entry % (4, 8) + b"}"
    return _write(path, struct.pack("<Q", len(header)) + header + bytes(8))


# What is done to a good checkpoint folder, and what is said of the result.
BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nothing there": (lambda f: f / "nix", "No checkpoint was found at"),
    "empty folder": (lambda f: (f.parent / "e", (f.parent / "e").mkdir())[0], "lacks model.safetensors or config.json"),
    "empty file": (lambda f: _write(f / "a.pth", b""), "not an intact file of weights"),
    "text": (lambda f: _write(f / "a.pth", b"hello " * 40), "not an intact file of weights"),
    "random bytes": (lambda f: _write(f / "a.pth", bytes(range(256)) * 9), "not an intact file of weights"),
    "broken zip": (lambda f: _write(f / "a.pth", b"PK\x03\x04" + bytes(90)), "not an intact file of weights"),
    "web page": (lambda f: _write(f / "a.pth", b"<!DOCTYPE html><html>"), "is a web page"),
    "git lfs": (lambda f: _write(f / "a.pth", b"version https://git-lfs.github.com/spec/v1"), "Git LFS pointer"),
    "bad header": (lambda f: _write(f / "a.safetensors", b"\xff" * 64), "not an intact safetensors file"),
    "name twice": (lambda f: _twice(f / "a.safetensors"), "not an intact safetensors file|none of the known layouts"),
    "cut off": (_cut, "not an intact safetensors file"),
    "no JSON": (lambda f: (f, (f / "config.json").write_text("{"))[0], "not intact JSON"),
    "deep JSON": (lambda f: (f, (f / "config.json").write_text("[" * 100_000))[0], "not intact JSON"),
    "no text": (lambda f: (f, (f / "config.json").write_bytes(b"\xff\xfe\x00"))[0], "cannot be read"),
    "list": (lambda f: (f, (f / "config.json").write_text("[]"))[0], "does not describe a sparsevision model"),
    "newer format": (lambda f: _edited(f, format_version=2), "format version 2.*update the package"),
    "odd version": (lambda f: _edited(f, format_version="one"), "format version one"),
    "unknown key": (lambda f: _edited(f, code="import os"), "wrong at 'code'"),
    "unknown model": (lambda f: _edited(f, model="sparseformer_nona"), "Unknown model: 'sparseformer_nona'"),
    "unknown field": (lambda f: _config(f, num_tokenz=4), "configuration: 'num_tokenz'; the nearest are 'num_tokens'"),
    "wrong value": (lambda f: _config(f, decoding="magic"), "decoding is 'magic'"),
    "gigantic": (lambda f: _config(f, num_tokens=10**12), "which no model has"),
    "large": (lambda f: _config(f, generator_width=60_000), "do not fit the model"),
    "contradiction": (lambda f: _config(f, num_tokens=9), "contradicts its tensors: by shape, num_tokens is 4, not 9"),
    "few labels": (lambda f: _edited(f, labels=["ant"]), "1 labels"),
    "flat deviation": (lambda f: _edited(f, preprocessing={"std": [0, 1, 1]}), "preprocessing in .* is invalid"),
    "NaN": (lambda f: _poisoned(f, float("nan")), r"'head\.fc\.bias' in .* NaN or infinite"),
    "infinite": (lambda f: _poisoned(f, float("inf")), r"'head\.fc\.bias' in .* NaN or infinite"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_checkpoint_is_one_sentence(kind: str, small: Make, tmp_path: Path) -> None:
    damage, said = BAD[kind]
    path = damage(_save(tmp_path / "run" / "best", small()))
    with pytest.raises(Exception, match=said) as caught:
        load_model(path)
    assert type(caught.value).__module__ == "sparsevision.errors"
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("content", "said"),
    [({}, "holds no weights"), ({"a": 3}, "'a' is of type int"), ({"model": {"x": "y"}}, "'x' is of type str")],
)
def test_a_mapping_without_tensors_is_refused(content: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        read_checkpoint(content)


def test_values_that_are_not_finite_load_when_allowed(small: Make, tmp_path: Path) -> None:
    from sparsevision.checkpoints import load_into

    path = _poisoned(_save(tmp_path / "x", small()), float("nan"))
    model = small()
    load_into(model, read_checkpoint(path), allow_nonfinite=True)
    assert model.head.fc.bias[0].isnan()


def test_nothing_is_copied_unless_everything_fits(small: Make) -> None:
    model = small()
    state = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    state["head.fc.bias"] = torch.zeros(9)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    from sparsevision.checkpoints import load_into

    with pytest.raises(CheckpointError):
        load_into(model, read_checkpoint(state))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
