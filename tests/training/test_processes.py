"""Two processes learn what one learns from the joint batch, and score each image once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from stand_ins import final_weights

from sparsevision.training.run_folder import read_metrics

SCRIPT = Path(__file__).with_name("joined_processes.py")


def run(out: Path, processes: int, layout: str) -> None:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    ran = subprocess.run(
        [sys.executable, *launch, str(SCRIPT), str(out), layout],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["equal", "unequal"])
def test_two_processes_learn_what_one_does(layout: str, tmp_path: Path) -> None:
    for processes in (1, 2):
        run(tmp_path / str(processes), processes, layout)
    one, two = (json.loads((tmp_path / str(n) / "gradients.json").read_text()) for n in (1, 2))
    assert one.keys() == two.keys()
    for name, values in one.items():
        assert torch.allclose(torch.tensor(values), torch.tensor(two[name]), atol=1e-5, rtol=0), name
    alone, joint = final_weights(tmp_path / "1"), final_weights(tmp_path / "2")
    for name in (name for name in alone if name.startswith("ema.")):
        assert torch.allclose(alone[name], joint[name], atol=1e-4), name
    scored = [[line for line in read_metrics(tmp_path / str(n)) if line["kind"] == "val"] for n in (1, 2)]
    for first, second in zip(*scored, strict=True):
        assert first["images"] == second["images"] == 21
        assert first["loss"] == pytest.approx(second["loss"], abs=1e-4)
