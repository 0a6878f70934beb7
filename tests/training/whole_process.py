"""Trains in a process of its own, or in several through torchrun: a script, and the function that starts it.

What is trained is said by a test module: its `recipe(*options)`, and `STILL`, options without random transforms, of
which each process would draw its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path


def run_process(module: str, folder: Path, out: Path, processes: int, kill_at: int = 0) -> int:
    """Trains in processes of their own, the first of which kills itself before a step; returns the status."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    places = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, *launch, __file__, module, str(folder), str(out), str(kill_at)], capture_output=True,
        text=True, timeout=600, check=False, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": places},
    )  # fmt: skip
    assert kill_at or ended.returncode == 0, ended.stderr[-3000:]
    return ended.returncode


def main(module: str, folder: str, out: Path, kill_at: int) -> None:
    from sparsevision.training import train
    from sparsevision.training.session import Session

    finish, steps = Session.finish_step, 0

    def counting(run: Session, *given: object) -> object:
        nonlocal steps
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return finish(run, *given)

    Session.finish_step = counting  # type: ignore[method-assign]
    tested = import_module(module)
    recipe = tested.recipe("run.checkpoint_every=1", *tested.STILL)
    train(recipe, data=folder, out=out, resume=(out / "last").exists())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
