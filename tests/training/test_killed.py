"""A run that is killed at any moment, and resumed, ends as if nothing had happened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from stand_ins import final_weights

from sparsevision.training.run_folder import read_metrics

SCRIPT = Path(__file__).with_name("killed_runs.py")


def lines(out: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second")} for line in read_metrics(out)]


@pytest.mark.slow
def test_twenty_kills(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, timeout=900, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    assert len(told["runs"]) == 20
    whole, metrics = final_weights(tmp_path / "unbroken"), lines(tmp_path / "unbroken")
    best = load_file(tmp_path / "unbroken" / "best" / "model.safetensors")
    for at, killed, resumed in told["runs"]:
        assert (killed, resumed > 0) == (-9, True), f"event {at}"
        out = tmp_path / str(at)
        ours = final_weights(out)
        assert ours.keys() == whole.keys()
        assert all(torch.equal(ours[name], whole[name]) for name in whole), f"event {at}"
        assert lines(out) == metrics, f"event {at}"
        kept = load_file(out / "best" / "model.safetensors")
        assert all(torch.equal(kept[name], best[name]) for name in best), f"event {at}"
        assert not [path for path in out.rglob("*") if path.name.endswith((".new", ".old"))], f"event {at}"
