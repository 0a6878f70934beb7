"""A run that is killed at any moment, and resumed, ends as if nothing had happened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL, SIGTERM
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
def test_kills_and_requests_to_stop_at_any_moment(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, timeout=900, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    assert len(told["runs"]) == 20
    whole, metrics = final_weights(tmp_path / "unbroken"), lines(tmp_path / "unbroken")
    best = load_file(tmp_path / "unbroken" / "best" / "model.safetensors")
    for name, ended, _, resumed in told["runs"]:
        number = int(name.partition("-")[0])
        # A request in the run's last moments finds nothing left to stop.
        assert ended == -number or (number == SIGTERM and ended > 0), name
        assert resumed > 0, name
        out = tmp_path / name
        ours = final_weights(out)
        assert ours.keys() == whole.keys()
        assert all(torch.equal(ours[key], whole[key]) for key in whole), name
        # A state that was asked for closes a logging interval.
        kinds = ("train", "val") if number == SIGKILL else ("val",)
        assert [line for line in lines(out) if line["kind"] in kinds] == [
            line for line in metrics if line["kind"] in kinds
        ], name
        kept = load_file(out / "best" / "model.safetensors")
        assert all(torch.equal(kept[key], best[key]) for key in best), name
        assert not [path for path in out.rglob("*") if path.name.endswith((".new", ".old"))], name
    # The step in which the request came is finished and kept; kills lose what came after the last state.
    stopped = {name.partition("-")[2]: step for name, _, step, _ in told["runs"] if name.startswith(f"{SIGTERM:d}-")}
    killed = {name.partition("-")[2]: step for name, _, step, _ in told["runs"] if name.startswith(f"{SIGKILL:d}-")}
    assert all(stopped[at] >= killed[at] for at in killed)
    assert sum(stopped.values()) > sum(killed.values())
