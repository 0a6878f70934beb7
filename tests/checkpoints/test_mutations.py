"""Three hundred damaged checkpoints: each loads or is refused in one sentence, and none takes long."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from sparsevision.checkpoints import save_checkpoint
from sparsevision.errors import SparseVisionError
from sparsevision.factory import load_model
from sparsevision.types import Preprocessing

ROUNDS = 300


def _mutate(content: bytes, dice: random.Random) -> bytes:
    data = bytearray(content)
    # Headers decide more than the numbers behind them, so most damage is done there.
    reach = min(len(data), dice.choice([16, 200, 4000, len(data)]))
    for _ in range(dice.choice([1, 1, 2, 8, 64])):
        at = dice.randrange(max(reach, 1))
        kind = dice.randrange(5)
        if kind == 0:
            data[at : at + 1] = bytes([dice.randrange(256)])
        elif kind == 1:
            del data[at : at + dice.choice([1, 2, 50])]
        elif kind == 2:
            data[at:at] = bytes(dice.choice(b'0123456789{}[]",:eE-.\x00\xff') for _ in range(dice.choice([1, 3])))
        elif kind == 3:
            data = data[: max(len(data) - dice.choice([1, 30, len(data) // 2]), 0)]
        else:
            data[at:at] = data[: dice.choice([4, 100])]
    return bytes(data)


@pytest.mark.slow
def test_damaged_checkpoints_load_or_are_refused(small: Callable[..., nn.Module], tmp_path: Path) -> None:
    model, dice = small(), random.Random(8)
    options = {"name": "sparseformer_nano", "preprocessing": Preprocessing(), "labels": ("ant", "bee", "cat")}
    folder = save_checkpoint(tmp_path / "good", model, **options)
    single = save_checkpoint(tmp_path / "good.safetensors", model, **options)
    torch.save({"model": model.state_dict()}, tmp_path / "good.pth")
    torch.save(model.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    victims = [
        folder / "config.json",
        folder / "model.safetensors",
        single,
        tmp_path / "good.pth",
        tmp_path / "old.pth",
    ]
    refusals = []
    for number in range(ROUNDS):
        victim = victims[number % len(victims)]
        good = victim.read_bytes()
        victim.write_bytes(_mutate(good, dice))
        target = folder if victim.parent == folder else victim
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                load_model(target)
        except SparseVisionError as error:
            refusals.append(str(error))
        finally:
            victim.write_bytes(good)
    assert len(refusals) > ROUNDS / 2
    assert [refusal for refusal in refusals if "\n" in refusal or len(refusal) > 1000] == []
    assert load_model(folder).identity.labels == ("ant", "bee", "cat")
