"""Trains in child processes that kill themselves at given events; run by test_killed.py, not imported by it.

Events are what a run does to the disk (before and after each file operation, and half-way through the state) and its
optimiser steps, so that which moment a number means does not depend on the machine's speed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Imported before the children are forked, so that each costs a second and not ten.
import accelerate  # noqa: F401
import torch
import torchmetrics.classification  # noqa: F401
from stand_ins import parts, recipe
from torch.utils.tensorboard import SummaryWriter  # noqa: F401

from sparsevision.training import fit, loop, state
from sparsevision.training.session import Session

MOMENTS = 20


class Fuse:
    """Counts events and kills the process, as kill -9 does, at number `at`."""

    def __init__(self, at: int | None) -> None:
        self.at, self.count = at, 0

    def event(self) -> bool:
        self.count += 1
        return self.count == self.at

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if self.event():
                kill()
            result = function(*arguments, **options)
            if self.event():
                kill()
            return result

        return wrapped

    def half_written(self, save: Callable[..., Any]) -> Callable[..., Any]:
        def saved(tensors: Any, path: Path, **options: Any) -> None:
            save(tensors, path, **options)
            if self.event():
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
                kill()

        return saved


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train(out: Path, at: int | None) -> int:
    fuse = Fuse(at)
    os.replace, os.rename, os.fsync = fuse.wrap(os.replace), fuse.wrap(os.rename), fuse.wrap(os.fsync)
    state.save_file = fuse.half_written(state.save_file)
    Session.finish_step = fuse.wrap(Session.finish_step)
    loop.step_terms = fuse.wrap(loop.step_terms)
    settings = recipe(**{"run.checkpoint_every": 4})
    fit(settings, lambda _: parts(settings), out=out, resume=True)
    return fuse.count


def in_child(out: Path, at: int | None) -> int:
    """Runs one training; returns the events it counted, or -9 when it was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writer, str(train(out, at)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    return int(text) if os.waitstatus_to_exitcode(status) == 0 else os.waitstatus_to_exitcode(status)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    events = in_child(folder / "unbroken", None)
    moments = sorted(random.Random(0).sample(range(1, events + 1), MOMENTS))
    outcome = [(at, in_child(folder / str(at), at), in_child(folder / str(at), None)) for at in moments]
    print(json.dumps({"events": events, "runs": outcome}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
