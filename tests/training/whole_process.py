"""Trains in a process of its own, or in several through torchrun: a script, and the function that starts it.

What is trained is said by a test module: its `recipe(*options)`, and `STILL`, options without random transforms, of
which each process would draw its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path


def run_process(module: str, folder: Path, out: Path, processes: int) -> None:
    """Trains in processes of their own."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    places = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, *launch, __file__, module, str(folder), str(out)], capture_output=True, text=True,
        timeout=600, check=False, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": places},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]


def main(module: str, folder: str, out: Path) -> None:
    from sparsevision.training import train

    tested = import_module(module)
    train(tested.recipe(*tested.STILL), data=folder, out=out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
